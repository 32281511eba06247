"""Kinds of models: how live models are loaded, what they can do, and what a run checks before it loads them.

There is one module per kind. Plug-ins use the entry point group ``kingyo.model_kinds``; a user's own kind is
an instance named as ``path/to/file.py:NAME``. Kinds import slow libraries, such as torch, in their methods.
"""

from kingyo.models.kinds.kind import ABILITIES as ABILITIES
from kingyo.models.kinds.kind import BatchMemory as BatchMemory
from kingyo.models.kinds.kind import CardPart as CardPart
from kingyo.models.kinds.kind import ChangesPipeline as ChangesPipeline
from kingyo.models.kinds.kind import Course as Course
from kingyo.models.kinds.kind import HasLanguagePart as HasLanguagePart
from kingyo.models.kinds.kind import HasPreprocessor as HasPreprocessor
from kingyo.models.kinds.kind import ImageCost as ImageCost
from kingyo.models.kinds.kind import InPipeline as InPipeline
from kingyo.models.kinds.kind import Live as Live
from kingyo.models.kinds.kind import LoadOptions as LoadOptions
from kingyo.models.kinds.kind import LoadsWeights as LoadsWeights
from kingyo.models.kinds.kind import ModelKind as ModelKind
from kingyo.models.kinds.kind import Options as Options
from kingyo.models.kinds.kind import PassableModels as PassableModels
from kingyo.models.kinds.kind import PassesLayers as PassesLayers
from kingyo.models.kinds.kind import Question as Question
from kingyo.models.kinds.kind import ShowsHiddenStates as ShowsHiddenStates
from kingyo.models.kinds.kind import Start as Start
from kingyo.models.kinds.kind import TrainsLora as TrainsLora
from kingyo.models.kinds.kind import Workload as Workload
from kingyo.models.kinds.kind import errors_of as errors_of
from kingyo.models.kinds.registry import DEFAULT as DEFAULT
from kingyo.models.kinds.registry import MODEL_KINDS as MODEL_KINDS
from kingyo.models.kinds.registry import NO_PIPELINE as NO_PIPELINE
from kingyo.models.kinds.registry import call_kind as call_kind
from kingyo.models.kinds.registry import common_kind as common_kind
from kingyo.models.kinds.registry import described as described
from kingyo.models.kinds.registry import distribution_of as distribution_of
from kingyo.models.kinds.registry import kind_of as kind_of
from kingyo.models.kinds.registry import kinds_in_order as kinds_in_order
from kingyo.models.kinds.registry import known_kind as known_kind
from kingyo.models.kinds.registry import load_live as load_live
from kingyo.models.kinds.registry import members as members
from kingyo.models.kinds.registry import require_ability as require_ability
from kingyo.models.kinds.registry import require_needs as require_needs
