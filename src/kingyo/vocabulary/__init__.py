"""Unite the tokenizers of several models, and reorder the rows of their embeddings accordingly."""

from kingyo.vocabulary.build import AlignedReads, Vocabulary, build_vocabulary
from kingyo.vocabulary.compare import Diagnostic, check_tokens, compare
from kingyo.vocabulary.extend import stored_files, with_template
from kingyo.vocabulary.templates import read_template, resolve_template
from kingyo.vocabulary.token_union import TokenModels
from kingyo.vocabulary.tokenizer_json import TOKENIZER_FILES, forget_tokenizers
from kingyo.vocabulary.tokenizer_key import TokenizerChoice, all_references, replaced, tokenizer_choice

__all__ = [
    "TOKENIZER_FILES",
    "AlignedReads",
    "Diagnostic",
    "TokenModels",
    "TokenizerChoice",
    "Vocabulary",
    "all_references",
    "build_vocabulary",
    "check_tokens",
    "compare",
    "forget_tokenizers",
    "read_template",
    "replaced",
    "resolve_template",
    "stored_files",
    "tokenizer_choice",
    "with_template",
]
