"""The console's frame: pages, languages, the API key, and the browser's restrictions."""

import re

import pytest
import requests
from playwright.sync_api import Page, expect

from scheduler_service.http.routes import console as routes
from scheduler_service.http.routes.console import FOLDER
from scheduler_service.http.routes.docs import SCALAR
from scheduler_service.keys import digest_of
from scheduler_service.words import WORDS
from tests.conftest import LiveService, live_service
from tests.console.browsing import check_both_sizes, new_context
from tests.waiting import HANG_S

PAGES = ("schedule", "models", "experiments", "monitoring")


def test_every_page_opens_from_the_navigation_and_by_its_address(page: Page):
    page.goto("/")
    expect(page).to_have_url(re.compile("#/schedule$"))
    for name in PAGES:
        page.get_by_role("navigation", name="主导航").get_by_role("link").nth(PAGES.index(name)).click()
        expect(page).to_have_url(re.compile(f"#/{name}$"))
        expect(page.locator("main .page")).to_be_visible()
        expect(page.locator("nav a[aria-current=page]")).to_have_count(1)


def test_the_language_is_chinese_until_switched_and_then_remembered(page: Page):
    page.goto("/#/schedule")
    expect(page.locator("html")).to_have_attribute("lang", "zh-CN")
    page.get_by_role("button", name="English").click()
    expect(page.get_by_role("link", name="Experiments")).to_be_visible()
    page.reload()
    expect(page.locator("html")).to_have_attribute("lang", "en")
    expect(page).to_have_title("Schedule · Shutdown scheduler")


def test_the_console_sends_no_request_to_other_hosts(page: Page, console: LiveService):
    requested: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    for name in PAGES:
        page.goto(f"/#/{name}")
        page.wait_for_load_state("networkidle")
    assert len(requested) > 20
    assert [url for url in requested if not url.startswith((console.url, "data:", "blob:"))] == []


@pytest.mark.parametrize("name", PAGES)
def test_every_page_fits_its_window_and_is_accessible(page: Page, name: str):
    page.goto(f"/#/{name}")
    page.wait_for_load_state("networkidle")
    check_both_sizes(page, f"empty-{name}")


def test_a_foreign_script_is_not_run(page: Page, mistakes: list[str]):
    page.goto("/")
    page.evaluate("""() => {
        const script = document.createElement('script');
        script.textContent = 'window.isOwned = true';
        document.head.append(script);
    }""")
    assert page.evaluate("window.isOwned") is None
    assert len(mistakes) == 1
    assert "Content Security Policy" in mistakes.pop()


def test_the_key_is_requested_once_and_sent_with_every_request(browser, tmp_path):
    key = "a-key-of-the-planners-0123456789"
    environment = {"SCHED_HOST": "127.0.0.2", "SCHED_API_KEYS": f"planner:read+run:{digest_of(key)}"}
    # Every address 127.x.x.x counts as loopback; only a service that listens everywhere requires keys.
    environment["SCHED_HOST"] = "0.0.0.0"
    with live_service(tmp_path, environment=environment) as running:
        context = new_context(browser, running.url)
        page = context.new_page()
        page.clock.install()
        page.goto("/#/models")
        dialog = page.get_by_role("dialog", name="需要 API 密钥")
        dialog.get_by_role("button", name="取消").click()
        expect(page.get_by_role("button", name="重试").first).to_be_visible()
        requested: list[str] = []
        page.on("request", lambda request: requested.append(request.url))
        page.clock.fast_forward(120_000)
        page.wait_for_timeout(300)
        assert requested == [], "who would rather give none is not asked again and again"

        page.goto("/#/schedule")
        dialog.get_by_label("密钥", exact=True).fill("a wrong key")
        dialog.get_by_role("button", name="使用这个密钥").click()
        expect(dialog).to_contain_text("unknown")
        dialog.get_by_label("密钥", exact=True).fill(key)
        with page.expect_response(lambda answer: "/models" in answer.url and answer.ok) as result:
            dialog.get_by_role("button", name="使用这个密钥").click()
        assert result.value.request.headers["authorization"] == f"Bearer {key}"
        expect(dialog).to_be_hidden()
        page.reload()
        expect(page.get_by_role("button", name="密钥有效")).to_be_visible()
        expect(dialog).to_be_hidden()
        context.close()


def test_a_planner_sees_only_actions_allowed_by_the_key(browser, tmp_path):
    keys = {"planner:read+run": "a-key-of-the-planners-0123456789", "boss:admin": "a-key-of-the-boss-0123456789"}
    entries = ",".join(f"{name}:{digest_of(key)}" for name, key in keys.items())
    with live_service(tmp_path, environment={"SCHED_HOST": "0.0.0.0", "SCHED_API_KEYS": entries}) as running:
        context = new_context(browser, running.url)
        page = context.new_page()
        page.goto("/#/models/DDQN_v1.0")
        dialog = page.get_by_role("dialog", name="需要 API 密钥")
        dialog.get_by_label("密钥", exact=True).fill(keys["planner:read+run"])
        dialog.get_by_role("button", name="使用这个密钥").click()
        button = page.get_by_role("button", name="密钥有效")
        expect(button).to_contain_text("查看、排程")
        expect(page.get_by_role("heading", name="DDQN v1.0.0")).to_be_visible()
        offers = {
            "models/DDQN_v2.0": "部署",
            "models": "注册",
            "experiments": "新建实验",
            "monitoring?tab=reports": "生成",
        }
        for address, offered in offers.items():
            page.goto(f"/#/{address}")
            offer = page.locator("main .admin-only").filter(has_text=offered).first
            offer.wait_for(state="attached")
            expect(offer).to_be_hidden()
        answer = page.evaluate("""async () => {
            const { api } = await import(ownFile('core/api.js'));
            const { refusalText } = await import(ownFile('core/refusals.js'));
            return api.post('/models/rollback', { algorithm: 'DDQN', reason: 'x' }).catch(refusalText);
        }""")
        wanted = {"key": "planner", "wanted": "admin", "held": ["read", "run"]}
        assert answer == WORDS.text("errors.missing_scope", wanted, "zh")

        button.click()
        expect(dialog).to_contain_text("当前密钥：planner（查看、排程）")
        dialog.get_by_label("密钥", exact=True).fill(keys["boss:admin"])
        dialog.get_by_role("button", name="使用这个密钥").click()
        for address, offered in offers.items():
            page.goto(f"/#/{address}")
            expect(page.locator("main .admin-only").filter(has_text=offered).first).to_be_visible()
        expect(button).to_contain_text("管理")
        context.close()


KEY = "a-key-of-the-planners-0123456789"
DOT = "header .dot"


def key_service(home, **options):
    entry = f"planner:read+run:{digest_of(KEY)}"
    return live_service(home, environment={"SCHED_HOST": "0.0.0.0", "SCHED_API_KEYS": entry} | options)


def opened(browser, running, key=""):
    context = new_context(browser, running.url, locale="zh-CN")
    if key:
        context.add_init_script(f"if (!sessionStorage.length) sessionStorage.setItem('scheduler.api_key', '{key}')")
    return context.new_page()


def test_no_key_is_requested_where_none_is_required(page: Page):
    page.goto("/#/models")
    button = page.get_by_role("button", name="无需密钥")
    expect(button).to_be_visible()
    expect(page.locator(DOT)).to_have_count(0)
    button.click()
    dialog = page.get_by_role("dialog", name="这里不需要密钥")
    expect(dialog.locator("input")).to_have_count(0)
    check_both_sizes(page, "key-needless")
    dialog.get_by_role("button", name="关闭").click()
    expect(dialog).to_be_hidden()


@pytest.mark.changes_context
def test_an_unknown_key_is_not_called_valid_where_none_is_required(page: Page):
    page.add_init_script("sessionStorage.setItem('scheduler.api_key', 'of another service')")
    page.goto("/#/models")
    expect(page.get_by_role("button", name="无需密钥")).to_be_visible()
    expect(page.locator(DOT)).to_have_count(0)


def test_a_key_is_green_only_after_the_service_has_accepted_it(browser, tmp_path):
    with key_service(tmp_path) as running:
        page = opened(browser, running, KEY)
        held = []
        page.route("**/access", lambda route: held.append(route))
        page.goto("/#/schedule")
        page.get_by_role("button", name="开始排程").wait_for()
        expect(page.locator(DOT)).to_have_class("dot untried")
        page.wait_for_timeout(300)
        assert len(held) == 1
        held[0].continue_()
        expect(page.locator(DOT)).to_have_class("dot accepted")
        expect(page.get_by_role("button", name="密钥有效")).to_contain_text("查看、排程")

        page.unroute("**/access")
        page.route("**/access", lambda route: route.abort())
        page.reload()
        expect(page.get_by_role("button", name="密钥未能核对")).to_be_visible()
        expect(page.locator(DOT)).to_have_class("dot unreachable")
        page.context.close()


def test_a_wrong_key_is_red_immediately_and_not_kept(browser, tmp_path):
    with key_service(tmp_path) as running:
        page = opened(browser, running, "an old key")
        page.goto("/#/schedule")
        expect(page.locator(DOT)).to_have_class("dot refused")
        dialog = page.get_by_role("dialog", name="需要 API 密钥")
        expect(dialog.get_by_role("alert")).to_contain_text("没有接受这个密钥")
        dialog.get_by_label("密钥", exact=True).fill("another wrong key")
        dialog.get_by_role("button", name="使用这个密钥").click()
        expect(dialog.get_by_role("alert")).to_contain_text("the API key is unknown")
        assert page.evaluate("sessionStorage.getItem('scheduler.api_key')") == "an old key"
        check_both_sizes(page, "key-refused")
        dialog.get_by_label("密钥", exact=True).fill(KEY)
        dialog.get_by_role("button", name="使用这个密钥").click()
        expect(dialog).to_be_hidden()
        expect(page.locator(DOT)).to_have_class("dot accepted")
        page.context.close()


def test_with_open_reading_a_key_is_requested_only_for_changes(browser, tmp_path):
    with key_service(tmp_path, SCHED_ANONYMOUS_SCOPES="read,run") as running:
        page = opened(browser, running)
        for name in PAGES:
            page.goto(f"/#/{name}")
            expect(page.locator("main .page")).to_be_visible()
            page.wait_for_load_state("networkidle")
        expect(page.get_by_role("dialog")).to_have_count(0)
        button = page.get_by_role("button", name="未输入密钥")
        expect(button).to_contain_text("查看、排程")
        button.click()
        dialog = page.get_by_role("dialog", name="API 密钥", exact=True)
        expect(dialog).to_contain_text("不用密钥也可以：查看、排程")
        check_both_sizes(page, "key-open")
        dialog.get_by_role("button", name="取消").click()
        page.get_by_role("button", name="English").click()
        page.get_by_role("button", name="No key entered").click()
        expect(page.get_by_role("dialog", name="API key")).to_contain_text(
            "Without a key you have: viewing and scheduling"
        )
        page.context.close()


def test_a_wrong_key_can_be_removed_where_none_is_required(browser, tmp_path):
    with key_service(tmp_path, SCHED_HOST="127.0.0.1") as running:
        page = opened(browser, running, "an old key")
        page.goto("/#/models")
        dialog = page.get_by_role("dialog", name="API 密钥（选填）")
        expect(dialog).to_contain_text("所有操作都不需要密钥")
        dialog.get_by_role("button", name="清除密钥").click()
        expect(page.get_by_text("DDQN_v2.0").first).to_be_visible()
        expect(page.get_by_role("button", name="无需密钥")).to_be_visible()
        assert page.evaluate("sessionStorage.getItem('scheduler.api_key')") is None
        page.context.close()


def test_too_many_requests_are_reported_with_the_waiting_time(browser, tmp_path):
    # Loopback without a key is never limited. One request a minute, so that no slow machine waits that long.
    key = "a-key-of-the-planners-0123456789"
    entry = f"planner:read+run:{digest_of(key)}"
    environment = {
        "SCHED_HOST": "0.0.0.0",
        "SCHED_API_KEYS": entry,
        "SCHED_RATE_LIMIT": "1",
    }  # one more a minute; the test is over before
    with live_service(tmp_path, environment=environment) as running:
        context = new_context(browser, running.url)
        context.add_init_script(f"sessionStorage.setItem('scheduler.api_key', '{key}')")
        page = context.new_page()
        page.goto("/#/schedule")
        page.get_by_role("button", name="开始排程").wait_for()
        running.session.headers["X-API-Key"] = key
        assert 429 in [running.get("/models").status_code for _ in range(200)]
        page.get_by_role("button", name="开始排程").click()
        result = page.locator("form [role=alert]")
        expect(result).to_contain_text(WORDS.text("errors.rate_exceeded", {}, "zh"))
        expect(result).to_contain_text(re.compile(r"请在 \d+ 秒后重试"))
        page.get_by_role("button", name="English").click()
        expect(result).to_contain_text(WORDS.text("errors.rate_exceeded", {}, "en"))
        context.close()


def test_files_that_the_service_cannot_read_are_reported_with_a_remedy(
    page: Page, console: LiveService, mistakes: list[str]
):
    reports = console.home / "reports"
    reports.rename(console.home / "elsewhere")
    reports.touch()
    try:
        page.goto("/#/monitoring?tab=reports")
        result = page.locator(".card.error[role=alert]")
        expect(result).to_contain_text(f"无法读取 {console.home / 'reports'}")
        expect(result).to_contain_text("请在 5 秒后重试")
    finally:
        reports.unlink()
        (console.home / "elsewhere").rename(reports)
    result.get_by_role("button", name="重试").click()
    expect(result).to_be_hidden()
    assert mistakes
    assert all("status of 503" in each for each in mistakes)
    mistakes.clear()


def test_an_unknown_address_is_reported(page: Page):
    page.goto("/#/modles/DDQN_v2.0")
    expect(page.get_by_role("alert")).to_contain_text("/modles/DDQN_v2.0")
    check_both_sizes(page, "nowhere")
    page.get_by_role("alert").get_by_role("link", name="排程").click()
    expect(page).to_have_url(re.compile("#/schedule$"))


def test_files_are_compressed_and_requested_again_only_after_a_change(service: LiveService):
    first = requests.get(f"{service.url}/console/app.js", timeout=HANG_S)
    assert first.headers["Content-Encoding"] == "gzip"
    assert first.headers["Cache-Control"] == "no-cache"
    again = requests.get(
        f"{service.url}/console/app.js", headers={"If-None-Match": first.headers["ETag"]}, timeout=HANG_S
    )
    assert (again.status_code, again.content) == (304, b"")
    library = next(FOLDER.glob("vendor/vue-3*/*.js")).relative_to(FOLDER)
    assert "immutable" in requests.get(f"{service.url}/console/{library}", timeout=HANG_S).headers["Cache-Control"]
    plain = requests.get(f"{service.url}/console/app.js", headers={"Accept-Encoding": "identity"}, timeout=HANG_S)
    assert plain.content == (FOLDER / "app.js").read_bytes() == first.content


def test_files_in_the_paths_of_the_page_are_requested_once_per_version(service: LiveService):
    page = requests.get(service.url, timeout=HANG_S)
    assert page.headers["Cache-Control"] == "no-cache"
    (path,) = re.findall(r'src="(console/v-[0-9a-f]{32}/app\.js)"', page.text)
    present = requests.get(f"{service.url}/{path}", timeout=HANG_S)
    assert "immutable" in present.headers["Cache-Control"]
    assert present.content == (FOLDER / "app.js").read_bytes()
    other = requests.get(f"{service.url}/console/v-{'0' * 32}/app.js", timeout=HANG_S)
    assert (other.status_code, other.json()["code"]) == (404, "console_version_gone"), (
        "files of two versions do not mix"
    )
    assert "immutable" not in other.headers.get("Cache-Control", "")
    words = requests.get(f"{service.url}/{path.replace('app.js', 'words/zh.json')}", timeout=HANG_S)
    assert "immutable" in words.headers["Cache-Control"]


def test_a_page_whose_files_are_of_another_version_loads_itself_again(page: Page, mistakes: list[str]):
    """A replica of another version answers for one of its files; the page is there once all are of one version."""
    refused = []

    def answer(route) -> None:
        if len(refused) < 2:
            refused.append(route.request.url)
            route.fulfill(status=404, body="")
        else:
            route.continue_()

    page.route("**/v-*/core/format.js", answer)
    page.goto("/#/models")
    expect(page.get_by_role("navigation").first).to_be_visible()
    assert len(refused) == 2
    page.unroute("**/v-*/core/format.js")
    assert len(mistakes) == 2
    mistakes.clear()


def test_the_version_depends_on_the_content_and_not_on_the_order_of_the_folder(monkeypatch):
    first = routes._snapshot(routes._stamps(0))
    turned = dict(reversed(routes._files().items()))
    monkeypatch.setattr(routes, "_files", lambda: turned)
    routes._snapshot.cache_clear()
    routes._stamps.cache_clear()
    assert routes.current().version == first.version
    assert list(first.assets) == sorted(first.assets)


@pytest.mark.parametrize(
    "name", ["../settings.py", "..%2f..%2fsettings.py", "vendor/vue-3.5.45/LICENSE", "nothing.js", ""]
)
def test_only_the_consoles_own_files_are_served(console: LiveService, name: str):
    answer = requests.get(f"{console.url}/console/{name}", timeout=HANG_S)
    assert answer.status_code == 404
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_every_library_has_its_licence_and_is_named_where_it_is_loaded():
    page = (FOLDER / "index.html").read_text("utf-8") + SCALAR
    for folder in (FOLDER / "vendor").iterdir():
        assert (folder / "LICENSE").read_text("utf-8"), folder
        assert f"vendor/{folder.name}/" in page


def test_user_text_is_never_interpreted_as_html():
    sources = [path for path in FOLDER.rglob("*.js") if "vendor" not in path.parts]
    assert len(sources) > 20
    for path in sources:
        assert not re.search(r"v-html|innerHTML|insertAdjacentHTML|document\.write", path.read_text("utf-8")), path


def test_every_named_text_exists_in_both_languages(page: Page):
    page.goto("/")
    named = {
        key
        for file in sorted(FOLDER.rglob("*.js"))
        if "vendor" not in file.parts
        for key in re.findall(
            r"""\bt\(\s*["']([a-z0-9_]+(?:\.[a-z0-9_]+)+)["']\s*[,)]""", file.read_text(encoding="utf-8")
        )
    }
    assert len(named) > 300, "they are found"
    absent = page.evaluate(
        """async ([keys, pages]) => {
            const { i18n } = await import(ownFile('core/i18n.js'));
            await Promise.all(pages.map((name) => import(ownFile(`pages/${name}/index.js`))));
            const { te } = i18n.global;
            return keys.filter((key) => !te(key, 'zh') || !te(key, 'en'));
        }""",
        [sorted(named), list(PAGES)],
    )
    assert absent == []
