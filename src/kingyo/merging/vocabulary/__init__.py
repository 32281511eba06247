"""Unite the tokenizers of several models, and reorder the rows of their embeddings accordingly."""

from kingyo.merging.vocabulary.build import AlignedReads as AlignedReads
from kingyo.merging.vocabulary.build import Vocabulary as Vocabulary
from kingyo.merging.vocabulary.build import build_vocabulary as build_vocabulary
from kingyo.merging.vocabulary.compare import Diagnostic as Diagnostic
from kingyo.merging.vocabulary.compare import check_tokens as check_tokens
from kingyo.merging.vocabulary.compare import compare as compare
from kingyo.merging.vocabulary.token_union import TokenModels as TokenModels
from kingyo.merging.vocabulary.token_union import stored_files as stored_files
from kingyo.merging.vocabulary.token_union import with_template as with_template
from kingyo.merging.vocabulary.tokenizer_json import TOKENIZER_FILES as TOKENIZER_FILES
from kingyo.merging.vocabulary.tokenizer_json import forget_tokenizers as forget_tokenizers
from kingyo.merging.vocabulary.tokenizer_json import read_template as read_template
from kingyo.merging.vocabulary.tokenizer_json import resolve_template as resolve_template
from kingyo.merging.vocabulary.tokenizer_key import TokenizerChoice as TokenizerChoice
from kingyo.merging.vocabulary.tokenizer_key import all_references as all_references
from kingyo.merging.vocabulary.tokenizer_key import replaced as replaced
from kingyo.merging.vocabulary.tokenizer_key import tokenizer_choice as tokenizer_choice
