"""What both tools are asked to merge, method by method."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tests.oracle.world import World

Values = Mapping[str, object]
THREE = ("s0", "s1", "s2")
SPARSE = ("sparse0", "sparse1", "sparse2")


@dataclass(frozen=True, kw_only=True)
class Case:
    """One merge."""

    method: str
    name: str = "plain"  # what is special about it
    models: Sequence[str] = THREE  # sources by their name in the world, without the base
    base: bool = True  # whether the base is named
    shared: Values = field(default_factory=dict[str, object])  # parameters of the recipe
    each: Sequence[Values] = ()  # parameters of each source

    def __str__(self) -> str:
        return f"{self.method}-{self.name}"

    def recipe(self, world: World, dtype: str | None = "float32") -> dict[str, object]:
        each = self.each or [{}] * len(self.models)
        models: list[dict[str, object]] = []
        for name, values in zip(self.models, each, strict=True):
            models.append({"model": world.path(name)} | ({"parameters": dict(values)} if values else {}))
        spec: dict[str, object] = {"merge_method": self.method, "models": models}
        spec |= {"base_model": world.path("base")} if self.base else {}
        spec |= {"parameters": dict(self.shared)} if self.shared else {}
        return spec | ({"dtype": dtype} if dtype else {})


WEIGHTS = ({"weight": 0.5}, {"weight": -0.3}, {"weight": 0.9})
POSITIVE = ({"weight": 0.5}, {"weight": 0.3}, {"weight": 0.9})
MIXED = (
    {"weight": 0.5, "density": 0.4},
    {"weight": -0.3, "density": 0.55},
    {"weight": 0.9, "density": 0.81},
)
CRUMBS = (
    {"weight": 0.5, "density": 0.4, "gamma": 0.2},
    {"weight": -0.3, "density": 0.95, "gamma": 0.3},
    {"weight": 0.9, "density": 0.07, "gamma": 0.0},
)

PLAIN = (
    Case(method="linear", base=False, shared={"weight": 1.0}),
    Case(method="linear", name="weights", base=False, each=WEIGHTS),
    Case(method="linear", name="raw", base=False, each=WEIGHTS, shared={"normalize": False}),
    Case(method="slerp", models=["s0"], shared={"t": 0.3}),
    Case(method="slerp", name="ends", models=["s1"], shared={"t": 1.0}),
    Case(method="slerp", name="beyond", models=["s2"], shared={"t": 1.4}),
    Case(method="nuslerp", models=["s0", "s1"], base=False, each=POSITIVE[:2]),
    Case(method="nuslerp", name="deltas", models=["s0", "s1"], each=POSITIVE[:2]),
    *(
        Case(
            method="nuslerp",
            name=f"{'deltas' if base else 'models'}-{'columns' if columns else 'rows'}",
            models=["s2", "s3"],
            base=base,
            each=POSITIVE[1:],
            shared={"nuslerp_flatten": False, "nuslerp_row_wise": columns},
        )
        for base in (False, True)
        for columns in (False, True)
    ),
    Case(method="multislerp", base=False, each=POSITIVE),
    Case(method="multislerp", name="deltas", each=POSITIVE),
    Case(method="multislerp", name="pair", models=["s0", "s3"], base=False, each=POSITIVE[1:]),
    Case(method="multislerp", name="pair-deltas", models=["s0", "s3"], each=POSITIVE[1:]),
    Case(method="multislerp", name="raw", each=POSITIVE, shared={"normalize_weights": False}),
    Case(method="multislerp", name="negative", base=False, each=WEIGHTS),
    Case(method="karcher", base=False),
    Case(method="karcher", name="pair", models=["s0", "s3"], base=False),
    Case(method="karcher", name="one-step", base=False, shared={"max_iter": 1}),
    Case(method="karcher", name="many", base=False, shared={"max_iter": 100, "tol": 1e-9}),
    Case(method="task_arithmetic", shared={"weight": 0.4}),
    Case(method="task_arithmetic", name="weights", each=WEIGHTS, shared={"lambda": 0.7}),
    Case(method="task_arithmetic", name="normalized", each=WEIGHTS, shared={"normalize": True}),
    Case(method="ties", shared={"weight": 1.0, "density": 0.3}),
    Case(method="ties", name="alone", models=["s1"], shared={"weight": 0.8, "density": 0.37}),
    Case(method="ties", name="dense", shared={"weight": 1.0}),
    Case(method="ties", name="thin", shared={"weight": 1.0, "density": 0.01}),
    Case(method="ties", name="mixed", each=MIXED, shared={"lambda": 0.6}),
    Case(method="ties", name="raw", each=MIXED, shared={"normalize": False}),
    Case(method="ties", name="rescaled", each=MIXED, shared={"rescale": True}),
    *(
        Case(method=method, name=name, shared=shared, each=WEIGHTS)
        for method in ("dare_linear", "dare_ties", "della", "della_linear")
        for name, shared in {
            "dense": {"density": 1.0, "lambda": 0.8},
            "dense-normalized": {"density": 1.0, "normalize": True},
            "dense-raw": {"density": 1.0, "normalize": False},
        }.items()
    ),
    *(
        Case(method=method, name=name, shared=shared, each=each)
        for method in ("breadcrumbs", "breadcrumbs_ties")
        for name, shared, each in (
            ("plain", {"weight": 1.0, "density": 0.6}, ()),
            ("mixed", {"lambda": 0.6}, CRUMBS),
            ("normalized", {"normalize": True}, CRUMBS),
            ("all-top", {"weight": 0.5, "density": 0.7, "gamma": 0.5}, ()),
            ("rescaled", {"rescale": True}, CRUMBS),
        )
    ),
    Case(method="sce"),
    *(Case(method="sce", name=f"top-{top}", shared={"select_topk": top}) for top in (0.1, 0.5, 0.93)),
    Case(method="sce", name="sparse", models=SPARSE, shared={"select_topk": 0.5}),
    Case(method="sce", name="pair", models=["s1", "s3"], shared={"select_topk": 0.29}),
    Case(method="model_stock", models=["s0", "s1"]),
    Case(method="model_stock", name="four", models=["s0", "s1", "s2", "s3"]),
    Case(method="model_stock", name="rows", shared={"filter_wise": True}),
    *(Case(method="nearswap", name=f"t-{t}", models=["s0"], shared={"t": t}) for t in (0.001, 0.02, 1.0)),
    Case(method="arcee_fusion", models=["s0"]),
    Case(method="arcee_fusion", name="other", models=["s3"]),
    Case(method="ram", models=SPARSE),
    Case(method="ram", name="pair", models=["sparse0", "sparse2"], shared={"epsilon": 0.003}),
    Case(method="ramplus_tl", models=SPARSE),
    Case(method="ramplus_tl", name="values", models=SPARSE, shared={"r": 0.3, "alpha": 4.0}),
    Case(method="ramplus_tl", name="epsilon", models=SPARSE, shared={"epsilon": 0.01}),
    Case(method="passthrough", models=["s0"], base=False),
    Case(method="passthrough", name="scale", models=["s0"], base=False, shared={"scale": 0.7}),
)
"""Cases of plain numbers."""

MLP = {"filter": "mlp", "value": 0.8}
FILTERS = [{"filter": "self_attn", "value": [0.2, 0.5, 0.9]}, MLP, {"value": 0.4}]
ONE_FILTER = [{"filter": "q_proj", "value": 0.1}]
GRADIENT = [0.1, 0.9]

VARIED = (
    Case(method="ties", name="int8", shared={"weight": 1, "density": 0.4, "int8_mask": True}),
    Case(method="task_arithmetic", name="no-effect", shared={"weight": 1, "density": 0.4, "rescale": True}),
    Case(
        method="linear",
        name="gradient",
        base=False,
        each=[{"weight": GRADIENT}, {"weight": 1}, {"weight": 2}],
    ),
    Case(
        method="linear", name="filters", base=False, each=[{"weight": FILTERS}, {"weight": 1}, {"weight": 1}]
    ),
    Case(
        method="linear",
        name="falls-through",
        base=False,
        each=[{"weight": ONE_FILTER}, {}, {}],
        shared={"weight": [{"filter": "layers.1", "value": 3}, {"filter": "*", "value": 2}, MLP]},
    ),
    Case(method="slerp", name="filters", models=["s0"], shared={"t": FILTERS}),
    Case(method="slerp", name="gradient", models=["s0"], shared={"t": [0, 0.5, 0.3, 0.7, 1]}),
    Case(method="nuslerp", name="gradient", models=["s0", "s1"], each=[{"weight": GRADIENT}, {"weight": 1}]),
    Case(method="multislerp", name="filters", each=[{"weight": FILTERS}, {"weight": 1}, {"weight": 1}]),
    Case(method="task_arithmetic", name="gradient", shared={"weight": GRADIENT, "lambda": FILTERS}),
    Case(method="ties", name="gradient", shared={"weight": 1, "density": GRADIENT}),
    Case(
        method="ties",
        name="filters",
        each=[{"density": FILTERS}, {"weight": FILTERS}, {"weight": GRADIENT, "density": 0.2}],
        shared={
            "weight": 0.7,
            "density": 0.5,
            "normalize": [{"filter": "mlp", "value": False}, {"value": True}],
        },
    ),
    Case(method="dare_ties", name="weights", shared={"weight": FILTERS, "density": 1}),
    Case(
        method="breadcrumbs", name="filters", shared={"weight": 1, "density": FILTERS, "gamma": [0.01, 0.1]}
    ),
    Case(method="della_linear", name="weights", shared={"weight": GRADIENT, "density": 1}),
    Case(method="sce", name="filters", shared={"select_topk": FILTERS}),
    Case(method="nearswap", name="gradient", models=["s0"], shared={"t": [0.001, 0.1]}),
    Case(method="passthrough", name="filters", models=["s0"], base=False, each=[{"scale": FILTERS}]),
    Case(method="passthrough", name="falls-through", models=["s0"], base=False, each=[{"scale": ONE_FILTER}]),
)
"""Cases whose values differ between tensors."""
