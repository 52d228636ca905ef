"""What the registry's routes answer."""

from typing import get_args

from scheduler_service.http.contract.answers.words import (
    ANYTHING,
    COUNT,
    FLAG,
    NUMBER,
    SHARE,
    TEXT,
    TIME,
    Schema,
    list_of,
    map_of,
    maybe,
    object_of,
    one_of,
    ref,
    success,
    told,
)
from scheduler_service.registry.history import EventKind
from scheduler_service.registry.outlook import PROMOTIONS
from scheduler_service.registry.records import STATUSES

_METRICS = map_of(
    {"type": ["number", "string", "boolean", "object", "array", "null"]}, "Metric -> what the caller claimed."
)
_MODEL = {
    "model_key": told(TEXT, "<algorithm>_<hash of the configuration>_v<version>."),
    "algorithm": TEXT,
    "version": TEXT,
    "status": one_of(*STATUSES),
    "tags": list_of(TEXT),
    "performance": told(_METRICS, "As claimed at registration."),
    "created_at": TIME,
    "created_by": TEXT,
    "description": TEXT,
    "training_params": ANYTHING,
    "sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$", "description": "Of the weights file."},
    "size_bytes": COUNT,
    "status_since": TIME,
    "verified_metrics": told(ANYTHING, "As measured at registration on a fixed set of instances."),
    "validation": told(ANYTHING, "As measured when it last became validated; empty before."),
    "lineage": told(ANYTHING, "Where the weights come from: parent, training_data_seed, code_version, config."),
    "flags": list_of(
        object_of(
            {
                "metric": TEXT,
                "claimed": NUMBER,
                "verified": NUMBER,
                "difference_percent": maybe(NUMBER),
                "message": TEXT,
            },
            about="A claim that differs from what was measured by more than 2 %.",
        )
    ),
}
_IS_DEFAULT = {"is_default": told(FLAG, "Whether it answers what no experiment takes.")}
_ANSWERING = object_of(
    {
        "days": told(COUNT, "That the shares are of."),
        "requests": told(
            maybe(COUNT), "Answers in that time, the newest 20,000 at most; null: the records are not to be had."
        ),
        "models": list_of(
            object_of(
                {
                    "model_key": TEXT,
                    "is_default": FLAG,
                    "requests": told(maybe(COUNT), "That it answered."),
                    "share": told(maybe(SHARE), "Of all answers in that time, 0 to 1; null: there were none."),
                    "experiments": list_of(
                        object_of(
                            {
                                "experiment": TEXT,
                                "arm": TEXT,
                                "share_of_users": told(SHARE, "Of the users who name the experiment, 0 to 1."),
                            },
                            about="An arm of a running experiment.",
                        )
                    ),
                }
            )
        ),
        "stable_elsewhere": told(
            list_of(object_of({"algorithm": TEXT, "model_key": TEXT, "message": TEXT})),
            "Models that bear the tag stable and do not answer by default.",
        ),
    },
    about="Who answers, and what share of the requests of late was whose.",
)
_REASON = object_of({"code": TEXT, "params": ANYTHING})
_STATE = object_of({"status": map_of(maybe(TEXT)), "tags": map_of(maybe(TEXT))})

MODELS: dict[str, Schema] = {
    "ListedModel": object_of(_MODEL | _IS_DEFAULT),
    "Model": object_of(
        _MODEL | {"signature": told(ANYTHING, "What the weights expect: format, features, layers.")}, _IS_DEFAULT
    ),
    "RegistrationAnswer": success({"model_key": TEXT, "message": TEXT}),
    "ModelsAnswer": success(
        {
            "models": list_of(ref("ListedModel")),
            "total": COUNT,
            "default_model": ref("DefaultModel"),
            "answering": _ANSWERING,
        }
    ),
    "ModelAnswer": success({"model": ref("Model"), "default_model": ref("DefaultModel")}),
    "DefaultChangedAnswer": success({"model_key": TEXT, "model": ref("Model"), "default_model": ref("DefaultModel")}),
    "ModelChangedAnswer": success({"model_key": TEXT, "model": ref("Model")}),
    "TaggedAnswer": success({"tag": TEXT, "model_key": TEXT, "model": ref("Model")}),
    "DoneAnswer": success({"message": TEXT}),
    "ModelUser": object_of(
        {
            "role": told(one_of("default", "experiment", "way_back"), "way_back: the default before an experiment."),
            "named": told(TEXT, "What the model is called there."),
            "experiment": maybe(TEXT),
        },
        about="Who needs a model.",
    ),
    "OutlookAnswer": success(
        {
            "model_key": TEXT,
            "refusals": object_of(
                {move: maybe(TEXT) for move in (*PROMOTIONS, "default", "deleted")},
                about="Move -> why it would be refused; null: it may be made.",
            ),
            "reasons": object_of(
                {move: maybe(_REASON) for move in (*PROMOTIONS, "default", "deleted")},
                about="Move -> the code and parameters of its refusal.",
            ),
            "used_by": told(list_of(ref("ModelUser")), "Who needs this model."),
            "stable": told(maybe(TEXT), "Key of the live version of its algorithm."),
            "follows_stable": told(list_of(ref("ModelUser")), "Who gets another model when the tag stable moves."),
            "rollback_to": told(maybe(TEXT), "What a rollback of its algorithm would return to; null: nothing."),
            "default_model": ref("DefaultModel"),
            "held_by_default": told(list_of(TEXT), "Rollouts that wait once another model is the default."),
        }
    ),
    "DefaultModel": object_of(
        {"name": told(TEXT, "As configured."), "model_key": told(maybe(TEXT), "null: no model bears the name.")},
        about="Who answers where no experiment and no request names a model.",
    ),
    "ModelEvent": object_of(
        {
            "time": TIME,
            "event": one_of(*get_args(EventKind)),
            "model_key": TEXT,
            "actor": TEXT,
            "reason": TEXT,
            "before": _STATE,
            "after": _STATE,
            "details": told(ANYTHING, "`code` and `params`: of the reason, unless it is the words of a person."),
        }
    ),
    "ModelHistoryAnswer": success(
        {
            "events": list_of(ref("ModelEvent")),
            "total": told(COUNT, "Of all that fit, also those beyond the limit."),
            "live": map_of(
                object_of(
                    {
                        "algorithm": TEXT,
                        "model_key": TEXT,
                        "since": TIME,
                        "event": one_of(*get_args(EventKind)),
                        "actor": TEXT,
                        "reason": TEXT,
                        "code": told(TEXT, "Of the reason; empty: the words of a person."),
                        "params": ANYTHING,
                    }
                ),
                "Algorithm -> the model that bears the tag stable.",
            ),
        }
    ),
}
