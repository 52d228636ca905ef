"""The configured channels."""

from collections import Counter

from pydantic import SecretStr

from scheduler_service.alerts.mail import Mail
from scheduler_service.alerts.notice import Channel
from scheduler_service.alerts.webhooks import ROBOTS
from scheduler_service.settings import Settings


def channels_from(settings: Settings) -> tuple[Channel, ...]:
    """The configured channels, webhooks first.

    If two have the same kind and host, the name of the second ends with ` #2`.
    """
    secrets = {"dingtalk": settings.alert_dingtalk_secret, "feishu": settings.alert_feishu_secret}
    seen: Counter[str] = Counter()
    channels: list[Channel] = []
    for entry in settings.alert_webhooks:
        kind, _, url = entry.get_secret_value().partition("=")
        webhook = ROBOTS[kind](SecretStr(url), secret=secrets.get(kind))
        seen[webhook.name] += 1
        if seen[webhook.name] > 1:
            webhook.name += f" #{seen[webhook.name]}"
        channels.append(webhook)
    if settings.alert_smtp_url is not None:
        sender, recipients = settings.alert_mail_from or "", settings.alert_mail_to
        channels.append(Mail(settings.alert_smtp_url, sender=sender, recipients=recipients))
    return tuple(channels)
