"""Unite the tokenizers of several models, and reorder the rows of their embeddings accordingly."""

from kingyo.vocabulary.build import Vocabulary, build_vocabulary
from kingyo.vocabulary.compare import Diagnostic, check_tokens, compare
from kingyo.vocabulary.references import all_references, replaced, tokenizer_choice
from kingyo.vocabulary.rows import Fetch, Fill, RowMap
from kingyo.vocabulary.source_models import TokenModels
from kingyo.vocabulary.templates import KNOWN, find_markers, read_template, resolve_template
from kingyo.vocabulary.tokenizer_files import stored_files, with_template
from kingyo.vocabulary.tokenizer_json import TOKENIZER_FILES, StoredTokenizer, read_tokenizer
from kingyo.vocabulary.tokenizer_key import ModelToken, TokenEntry, TokenizerChoice, Zero, parse_tokenizer
from kingyo.vocabulary.views import AlignedReads, Reader

__all__ = [
    "KNOWN",
    "TOKENIZER_FILES",
    "AlignedReads",
    "Diagnostic",
    "Fetch",
    "Fill",
    "ModelToken",
    "Reader",
    "RowMap",
    "StoredTokenizer",
    "TokenEntry",
    "TokenModels",
    "TokenizerChoice",
    "Vocabulary",
    "Zero",
    "all_references",
    "build_vocabulary",
    "check_tokens",
    "compare",
    "find_markers",
    "parse_tokenizer",
    "read_template",
    "read_tokenizer",
    "replaced",
    "resolve_template",
    "stored_files",
    "tokenizer_choice",
    "with_template",
]
