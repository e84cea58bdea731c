"""`./dev build`: which packages it wants and which directory it builds in, for each preset; nothing is built here."""

import json
import os
import re
import shutil
import tempfile
import unittest

from pair import SOURCE, run

# Each says with what it was called; cmake makes what ./dev looks for.
CMAKE = """#!/bin/sh
echo "cmake $*" >>"$CALLS"
[ "$1" = --preset ] && mkdir -p "build/$2" && touch "build/$2/build.ninja"
exit 0
"""
DPKG_QUERY = """#!/bin/sh
for last; do :; done
echo "package $last" >>"$CALLS"
printf installed
"""


class Build(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="gemel-dev-")
        self.addCleanup(shutil.rmtree, self.directory)
        shutil.copy(os.path.join(SOURCE, "dev"), self.directory)
        os.mkdir(self.directory + "/bin")
        for name, text in (("cmake", CMAKE), ("dpkg-query", DPKG_QUERY)):
            with open(f"{self.directory}/bin/{name}", "w") as file:
                file.write(text)
            os.chmod(file.name, 0o755)

    def calls(self, preset):
        path = self.directory + "/calls"
        run(self.directory + "/dev", "build", preset,
            env={**os.environ, "CALLS": path, "PATH": self.directory + "/bin:" + os.environ["PATH"]})
        with open(path) as file:
            return file.read()

    def test_each_preset_has_its_compiler_and_is_built_where_it_is_configured(self):
        with open(os.path.join(SOURCE, "CMakePresets.json")) as file:
            presets = {preset["name"]: preset for preset in json.load(file)["configurePresets"]}

        def inherited(name, key):
            preset = presets[name]
            return preset[key] if key in preset else inherited(preset["inherits"], key)
        for name in presets:
            if presets[name].get("hidden"):
                continue
            with self.subTest(name):
                calls = self.calls(name)
                compiler = presets[name]["inherits"] in ("clang", "asan")
                self.assertEqual("package clang-19\n" in calls, compiler, calls)
                directory = inherited(name, "binaryDir").replace("${sourceDir}/", "").replace("${presetName}", name)
                self.assertEqual(re.findall("--build ([^ ]+)", calls), [directory])
                os.remove(self.directory + "/calls")


if __name__ == "__main__":
    unittest.main()
