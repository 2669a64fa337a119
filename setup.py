"""Puts ``paddlenlp_embtune.pth`` beside the packages; all else is in setup.cfg."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

PTH = "paddlenlp_embtune.pth"


class BuildWithStartup(build_py):
    """Copies the file that Python reads when it starts to the top of the wheel; uninstalling removes it with the rest."""

    def run(self):
        """Build, and copy."""
        super().run()
        if not self.editable_mode:
            self.copy_file(str(Path(__file__).with_name(PTH)), str(Path(self.build_lib) / PTH))

    def get_outputs(self, include_bytecode=True):
        """Name what was written."""
        return [*super().get_outputs(include_bytecode), *([] if self.editable_mode else [str(Path(self.build_lib) / PTH)])]


setup(cmdclass={"build_py": BuildWithStartup})
