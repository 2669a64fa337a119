"""A bundle is made, or changed, in one transaction.

Weights, engines with their proofs, calibration and quantized programs come into one temporary folder beside the bundle's place.
When the transaction ends, every file has been written once and hashed once, the manifest is sealed, and the folder takes the
place of what stood there. An error anywhere leaves the place as it was.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from paddlenlp_embtune.bundle import Bundle
from paddlenlp_embtune.export._place import bundle_lock, locked_bundle, replace_bundle
from paddlenlp_embtune.export._staged_files import StagedFiles
from paddlenlp_embtune.export.builder import BundleBuilder
from paddlenlp_embtune.export.bundle_content import BundleContent, manifest_of, write_content

__all__ = ["edit_bundle", "new_bundle"]


@contextlib.contextmanager
def new_bundle(target: Path, content: BundleContent) -> Iterator[BundleBuilder]:
    """Make a bundle: it is sealed and put in its place when the block ends; an error leaves the place as it was.

    Args:
        target: the folder; an older bundle there is replaced in one step, anything else is refused.
        content: what goes in.
    Yields:
        A builder that holds the weights; no engine is proven yet.
    Raises:
        ParityError: an engine answers differently.
        BundleError: the place is taken, or the disk does not take the files; nothing is written.
    """
    with bundle_lock(target):
        with replace_bundle(target) as folder:
            write_content(folder, content)
            files, vocabulary = StagedFiles(folder), content.tokenizer.vocabulary
            builder = BundleBuilder(
                target,
                folder,
                manifest_of(content),
                vocabulary,
                files,
                model=content.model,
                sample_texts=content.sample_texts,
            )
            yield builder
            hashes = builder.seal()
        builder.finish(hashes)


@contextlib.contextmanager
def edit_bundle(bundle: Bundle, target: Path, *, sample_texts: Sequence[str] = ()) -> Iterator[BundleBuilder]:
    """Change a bundle: the result is sealed and put in its place when the block ends; an error leaves the place as it was.

    Args:
        bundle: an opened bundle; opened again if it is to be replaced and another process has replaced it since.
        target: where the result goes; may be the bundle's own folder.
        sample_texts: real texts that engines which are exported are compared on, beside random ones.
    Yields:
        A builder that holds what the bundle holds.
    Raises:
        BundleError: a place is taken, the bundle has been replaced meanwhile, or the disk does not take the files; nothing is
            written.
    """
    with locked_bundle(bundle, target) as current:
        with replace_bundle(target) as folder:
            if target.resolve() == current.path.resolve():
                current.check_current()
            files = StagedFiles(folder, current)
            builder = BundleBuilder(target, folder, current.manifest, current.vocabulary, files, sample_texts=sample_texts)
            yield builder
            hashes = builder.seal()
        builder.finish(hashes)
