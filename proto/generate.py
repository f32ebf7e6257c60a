"""Generate gen/ from the contracts: Python code with typed stubs, the descriptor set of the gateway, imports for buf, refusals of clients.

Run by `make proto`. Does nothing when neither a contract, nor this file, nor a generator changed since the last run. A new gen/ is
built aside and moved into place at once, so that whoever imports from it meanwhile sees the old one or the new one.
"""

import fcntl
import hashlib
import os
import shutil
import sys
import tempfile
from importlib.metadata import distribution, version
from importlib.resources import files
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
GEN = ROOT / "gen"
STAMP = "inputs.sha256"
GENERATORS = ("grpcio-tools", "mypy-protobuf", "googleapis-common-protos")


def main() -> None:
    build = ROOT / "build"
    build.mkdir(exist_ok=True)
    with (build / "generate.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        digest = digest_of_inputs()
        stamp = GEN / STAMP
        if stamp.exists() and stamp.read_text() == digest:
            return
        with tempfile.TemporaryDirectory(dir=build, prefix="gen-") as scratch:
            new = Path(scratch) / "gen"
            generate(new)
            (new / STAMP).write_text(digest)
            if GEN.exists():
                GEN.rename(Path(scratch) / "old")
            new.rename(GEN)


def sources() -> list[Path]:
    return sorted([*(ROOT / "proto").rglob("*.proto"), *(ROOT / "third_party").rglob("*.proto")])


def digest_of_inputs() -> str:
    """SHA-256 (hex) over this file, every .proto with its path, and the versions of the generators."""
    digest = hashlib.sha256(repr([(name, version(name)) for name in GENERATORS]).encode())
    for path in [Path(__file__), *sources()]:
        content = path.read_bytes()
        digest.update(f"{path.relative_to(ROOT)}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def generate(target: Path) -> None:
    """Write everything into the new directory `target`."""
    target.mkdir()
    googleapis = target / "googleapis"
    copy_googleapis(googleapis)
    includes = [f"--proto_path={path}" for path in include_paths(googleapis)]
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # the mypy-protobuf plugins
    run_protoc(
        *includes,
        f"--python_out={target}",
        f"--grpc_python_out={target}",
        f"--mypy_out=quiet:{target}",
        f"--mypy_grpc_out=quiet:{target}",
        *map(str, sources()),
    )
    # The gateway turns refusals into JSON only if it knows what may be in their details, which no contract imports.
    run_protoc(
        *includes,
        f"--descriptor_set_out={target / 'scrm.binpb'}",
        "--include_imports",
        "--include_source_info",
        *map(str, sources()),
        str(googleapis / "google" / "rpc" / "error_details.proto"),
    )
    write_refusals(target)
    # The wheel holds the Python of google/*, without types: stubs alone, in a folder that only mypy looks into.
    run_protoc(*includes, f"--mypy_out=quiet:{googleapis}", *map(str, sorted(googleapis.rglob("*.proto"))))


def write_refusals(target: Path) -> None:
    """For each error_reason.proto a module beside its code, with an exception for each reason, for clients/python."""
    for file in FileDescriptorSet.FromString((target / "scrm.binpb").read_bytes()).file:
        if not file.name.endswith("/error_reason.proto"):
            continue
        service = file.package.split(".")[1]
        comments = {tuple(it.path): it.leading_comments for it in file.source_code_info.location}
        classes = [
            REFUSAL.format(
                name="".join(word.capitalize() for word in value.name.removeprefix(PREFIX).split("_")),
                comment=" ".join(comments[5, 0, 2, place].split()).replace("\\", "\\\\").replace('"', "'"),
                service=service,
                reason=value.name.removeprefix(PREFIX),
            )
            for place, value in enumerate(file.enum_type[0].value)
            if value.number
        ]
        heading = f'"""What {service} refuses, as exceptions. Made from {file.name}."""\n\n'
        module = target / Path(file.name).with_name("refusals.py")
        module.write_text(heading + "from scrm_client.refusals import Refused\n" + "".join(classes))


PREFIX = "ERROR_REASON_"
REFUSAL = '''

class {name}(Refused):
    """{comment}"""

    domain = "{service}.scrm"
    reason = "{reason}"
'''


def run_protoc(*arguments: str) -> None:
    status = protoc.main(["protoc", *arguments])
    if status != 0:
        sys.exit(status)


def include_paths(googleapis: Path) -> list[Path]:
    well_known = Path(str(files("grpc_tools") / "_proto"))
    return [ROOT / "proto", ROOT / "third_party", googleapis, well_known]


def copy_googleapis(target: Path) -> None:
    """Copy the .proto files of googleapis-common-protos, which buf and protoc import and Python has compiled already."""
    for file in distribution("googleapis-common-protos").files or ():
        if file.suffix == ".proto":
            copy = target / file
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(str(file.locate()), copy)


if __name__ == "__main__":
    main()
