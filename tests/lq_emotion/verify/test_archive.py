"""Weights in a zip: verified as in a folder, nothing left behind, nothing written where a name says."""

import io
import stat
import tempfile
import zipfile

import pytest

NAME = "class/HQ.caffemodel"


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """Where the system's temporary files go."""
    folder = tmp_path / "temporary files"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def packed(path, *members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def test_a_zip_is_verified_as_the_folder_is(tmp_path, folder, weights, verify, temporary):
    inner = io.BytesIO()
    packed(inner, (NAME, weights.read_bytes()))
    others = (("/", b""), ("read me.txt", b"hello"), ("more.zip", inner.getvalue()), (f"__MACOSX/{NAME}", b"x"))
    archive = packed(tmp_path / "my weights.ZIP", *others, (NAME, weights.read_bytes()))
    code, ours, _ = verify(archive)
    _, expected, _ = verify(folder, out="folder.json")
    assert code == 0
    assert [file["file"] for file in ours["files"]] == [NAME]
    assert ours["files"] == expected["files"]
    assert list(temporary.iterdir()) == []


def linked():
    member = zipfile.ZipInfo(NAME)
    member.external_attr = (stat.S_IFLNK | 0o777) << 16
    return member


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("members", "problem"),
    [
        ([("../HQ.caffemodel", b"x")], "'../HQ.caffemodel' in this archive is outside of it"),
        ([("/tmp/HQ.caffemodel", b"x")], "is outside of it"),
        ([("a\\..\\HQ.caffemodel", b"x")], "is outside of it"),
        ([("C:/HQ.caffemodel", b"x")], "is outside of it"),
        ([("a\x1b[2J.caffemodel", b"x")], "has a name that cannot be printed"),
        ([(linked(), b"/etc/passwd")], "is a link"),
        ([("read me.txt", b"x")], "has no .caffemodel or .caffemodel.h5 (it has 'read me.txt')"),
        ([], "it is empty"),
        ([(NAME, b"x"), (NAME, b"y")], "appears twice"),
    ],
)
def test_what_cannot_be_trusted_is_refused_before_anything_is_inflated(tmp_path, verify, temporary, members, problem):
    code, result, said = verify(packed(tmp_path / "a.zip", *members))
    assert (code, result) == (1, None)
    assert problem in said
    assert "a.zip" in said
    assert list(temporary.iterdir()) == []


def test_a_size_beyond_the_limit_and_a_page_in_the_place_of_a_zip_are_refused(tmp_path, verify, monkeypatch):
    from lq_emotion.verify import archive

    monkeypatch.setattr(archive, "LARGEST", 1000)
    code, _, said = verify(packed(tmp_path / "a.zip", (NAME, bytes(1001))))
    assert code == 1
    assert "has 1001 bytes; 1000 are allowed" in said
    (tmp_path / "a.zip").write_text("<html>This link has expired</html>")
    code, _, said = verify(tmp_path / "a.zip")
    assert code == 1
    assert "a.zip: cannot be read as a zip archive" in said


def test_a_damaged_or_lying_member_fails_and_the_others_are_verified(tmp_path, weights, verify, temporary):
    content = weights.read_bytes()
    path = packed(
        tmp_path / "a.zip", ("bad.caffemodel", bytes(5000)), ("long.caffemodel", bytes(5000)), (NAME, content)
    )
    data = bytearray(path.read_bytes())
    for name, offset, change in ((b"bad.caffemodel", 16, b"\0\0\0\0"), (b"long.caffemodel", 24, b"\x10\0\0\0")):
        entry = data.rindex(name) - 46  # in the central directory: the checksum, the inflated size
        data[entry + offset : entry + offset + 4] = change
    path.write_bytes(data)
    code, result, _ = verify(path)
    assert code == 1
    by_name = {file["file"]: file for file in result["files"]}
    assert by_name[NAME]["verdict"] == "passed"
    for name in ("bad.caffemodel", "long.caffemodel"):
        assert by_name[name]["problems"][0].startswith(f"{name}: cannot be inflated")
    assert list(temporary.iterdir()) == []
