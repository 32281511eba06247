"""Unite the tokenizers of several models, and reorder the rows of their embeddings accordingly."""

from kingyo.vocabulary.build import AlignedReads as AlignedReads
from kingyo.vocabulary.build import Vocabulary as Vocabulary
from kingyo.vocabulary.build import build_vocabulary as build_vocabulary
from kingyo.vocabulary.compare import Diagnostic as Diagnostic
from kingyo.vocabulary.compare import check_tokens as check_tokens
from kingyo.vocabulary.compare import compare as compare
from kingyo.vocabulary.templates import read_template as read_template
from kingyo.vocabulary.templates import resolve_template as resolve_template
from kingyo.vocabulary.token_union import TokenModels as TokenModels
from kingyo.vocabulary.token_union import stored_files as stored_files
from kingyo.vocabulary.token_union import with_template as with_template
from kingyo.vocabulary.tokenizer_json import TOKENIZER_FILES as TOKENIZER_FILES
from kingyo.vocabulary.tokenizer_json import forget_tokenizers as forget_tokenizers
from kingyo.vocabulary.tokenizer_key import TokenizerChoice as TokenizerChoice
from kingyo.vocabulary.tokenizer_key import all_references as all_references
from kingyo.vocabulary.tokenizer_key import replaced as replaced
from kingyo.vocabulary.tokenizer_key import tokenizer_choice as tokenizer_choice
