"""What `forecast tune` varies, and what it minimises."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from xlstm_apps.estimators.forecast_plan import ForecastPlan, spread
from xlstm_apps.forecasting import ForecastModel, pinball
from xlstm_apps.forecasting.presets import LINEAR, with_preset
from xlstm_apps.recipes.config import SearchConfig

SECTION = {
    "context_length": "head",
    "dropout": "head",
    "members": "head",
    "embedding_dim": "backbone",
    "num_blocks": "backbone",
    "learning_rate": "fit",
}
LONGEST = 1024
WINDOWS = 512


def search_space(kinds: Any, search: SearchConfig, plan: ForecastPlan) -> tuple[dict[str, Any], dict[str, Any]]:
    """Optuna distributions of what varies, and the settings as given in those terms.

    Args:
        kinds: `optuna.distributions`.
        search: What may vary.
        plan: The settings as given, resolved.
    """
    head, backbone = plan.head, plan.backbone
    members = "+".join(head.members)
    sets = member_sets(head.members) if search.members is None else search.members
    network = not LINEAR.issuperset(
        "+".join([members, *sets]).split("+")
    )  # linear members have neither width nor dropout
    widths = [width for width in search.embedding_dim if network and width % backbone.num_heads == 0]
    depths = search.num_blocks if network else []
    choices: dict[str, tuple[list[Any], Any]] = {
        "context_length": (
            context_lengths(plan) if search.context_length is None else search.context_length,
            head.context_length,
        ),
        "embedding_dim": (taken(plan, "embedding_dim", widths), backbone.embedding_dim),
        "num_blocks": (taken(plan, "num_blocks", depths), backbone.num_blocks),
        "members": (sets, members),
    }
    space, given = {}, {}
    for name, (values, own) in choices.items():
        options = sorted({*values, own}) if values else []
        if len(options) > 1:
            space[name], given[name] = kinds.CategoricalDistribution(options), own
    for name, bounds, own, log in (
        ("learning_rate", search.learning_rate, plan.fit.learning_rate, True),
        ("dropout", search.dropout if network else [], head.dropout, False),
    ):
        if bounds:
            space[name] = kinds.FloatDistribution(min(bounds[0], own), max(bounds[1], own), log=log)
            given[name] = own
    return space, given


def taken(plan: ForecastPlan, name: str, values: list[int]) -> list[int]:
    """Those values that the model does not read as "left open" (see `with_preset`)."""
    head = replace(plan.head, members=None)
    kept = [v for v in values if getattr(with_preset(head, replace(plan.backbone, **{name: v}))[1], name) == v]
    return kept


def context_lengths(plan: ForecastPlan) -> list[int]:
    """Half, twice and four times the context that the data suggests; the longest leaves half the training part."""
    context, season = plan.head.context_length, plan.season.steps
    assert context is not None
    train = int(np.median([train_end for train_end, _ in plan.split]))
    longest = min(LONGEST, max(train - plan.head.prediction_length, 1) // 2)
    wanted = [context // 2, context, 2 * context, 4 * context]
    whole = [n - n % season if n >= 2 * season and n != context else n for n in wanted]
    return sorted({n for n in whole if n == context or 4 <= n <= longest})


def member_sets(members: list[str]) -> list[str]:
    """All members, all but one, and the first beside each of the others; a single member has no choice."""
    count = len(members)
    if count == 1:
        return []
    sets = [members, *([m for m in members if m != left] for left in members)]
    sets += [[members[0], other] for other in members[1:]]
    return list(dict.fromkeys("+".join(chosen) for chosen in sets))


def applied(chosen: dict[str, Any], sections: dict[str, Any]) -> dict[str, Any]:
    """The sections head, backbone and fit with the settings of a trial."""
    changed: dict[str, dict[str, Any]] = {"head": {}, "backbone": {}, "fit": {}}
    for name, value in chosen.items():
        changed[SECTION[name]][name] = value.split("+") if name == "members" else value
    return {name: replace(sections[name], **values) for name, values in changed.items()}


def validation_loss(plan: ForecastPlan, model: ForecastModel) -> float:
    """Pinball loss of the forecast on the validation part: the same windows whatever the context and the members."""
    assert plan.valid is not None
    windows = spread(plan.valid, max(WINDOWS, plan.budget.validation_rows // len(plan.table.channels)))
    size = max(1, plan.budget.validation_rows // len(plan.table.channels) // 4)
    model = model.to(plan.device).eval()
    levels = torch.tensor(model.levels, device=plan.device)
    total = count = 0.0
    with torch.inference_mode():
        for begin in range(0, len(windows), size):
            batch = windows.__getitems__(list(range(begin, min(begin + size, len(windows)))))
            batch = {name: x.to(plan.device) for name, x in batch.items()}
            loss = pinball(model(batch), batch["target"], batch["target_mask"], levels)
            total, count = total + float(loss.double().sum()), count + float(batch["target_mask"].sum())
    return total / max(count, 1.0)
