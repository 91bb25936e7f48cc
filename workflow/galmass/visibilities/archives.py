"""Visibilities from public archives: files of a Zenodo record, and what the ALMA archive holds of a line in a galaxy.

Everything that talks to a network is handed in: a `Transport`, an ALMA client.
"""

import re
from collections.abc import Callable
from pathlib import Path

from galmass import stores
from galmass.errors import InputError
from galmass.integrity import RemoteFile, Request
from galmass.transport import Transport

ZENODO = "https://zenodo.org/api/records"
NEXT_IN_CASA = """What the ALMA archive gives are raw or pipeline products; before import_visibilities they must in CASA be
1. calibrated: untar, run scriptForPI.py with the CASA version that its README names (needs the raw data and the auxiliary files);
2. split: the science target and the spectral window of the line, datacolumn='corrected';
3. brought to one frame: mstransform(regridms=True, mode='frequency', outframe='LSRK', ...), all executions to the same channels;
4. concatenated, if several executions; phase centre and fields (mosaics are not supported) checked with listobs.
The continuum may stay: it is subtracted by config. Then give the .ms as the input of import_visibilities."""


def zenodo_files(record: int, transport: Transport) -> dict[str, RemoteFile]:
    """Files of a Zenodo record by name.

    Raises
    ------
    InputError
        When the record is gone or what answers is not its JSON.
    """
    url = f"{ZENODO}/{record}"
    answer = transport.read_json(url)
    try:
        files = {f["key"]: RemoteFile(Request(f["links"]["self"]), int(f["size"]), f["checksum"].removeprefix("md5:")) for f in answer["files"]}
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise InputError(
            f"{url}: its answer has no files with key, size, checksum and links.self ({error!r}); has the form of Zenodo's answers changed?"
        ) from error
    if not files or not all(re.fullmatch("[0-9a-f]{32}", file.md5) for file in files.values()):
        raise InputError(f"{url}: its answer names no file with an MD5 checksum; is the record restricted?")
    return files


def download_zenodo(record: int, name: str, path, transport: Transport) -> dict:
    """Download file `name` of a record to `path`, with ``<path>.manifest.json`` beside it; returns the manifest.

    A file that is there and has the size and checksum of the record is not downloaded again; an interrupted download goes on.
    """
    files = zenodo_files(record, transport)
    if name not in files:
        raise InputError(f"Zenodo record {record} has no file {name}; it has {', '.join(sorted(files))}")
    remote, path = files[name], Path(path)
    entry = transport.fetch(remote, path)
    manifest = {"record": record, "name": name, "url": remote.url, "size": remote.size, "md5": remote.md5, "sha256": entry["sha256"], "date": entry["date"]}
    stores.write_json(path.with_name(path.name + ".manifest.json"), manifest)
    return manifest


def query_alma(source: str | None = None, frequency_hz: float | None = None, member_ous: str | None = None, client=None):
    """Public science observations that the ALMA archive has of a source or member OUS, astropy table.

    Parameters
    ----------
    source : str, optional
        Name that ALMA's or Sesame's name service resolves.
    frequency_hz : float, optional
        Observed (sky) frequency of the line: only observations with a window over it.
    member_ous : str, optional
        As ``uid://A001/X1295/X35``.
    client : optional
        Like ``astroquery.alma.Alma``, which is the default.
    """
    if not (source or member_ous):
        raise InputError("the ALMA archive is asked by source or member_ous; both are empty in the config")
    client = client or _alma_client()
    if source:
        table = _asked("query", client.query_object, source, public=True, science=True)
    else:
        table = _asked("query", client.query, {"member_ous_id": member_ous}, public=True, science=True)
    if table is None or not len(table):
        raise InputError(f"the ALMA archive has no public science observation of {source or member_ous}")
    keep = [_covers(row, frequency_hz) and member_ous in (None, str(row["member_ous_uid"])) for row in table]
    if not any(keep):
        wanted = [f"{frequency_hz / 1e9:.4f} GHz"] * (frequency_hz is not None) + [member_ous] * (member_ous is not None)
        windows = "; ".join(sorted({str(row["frequency_support"]) for row in table})[:5])
        raise InputError(f"none of {len(table)} ALMA observations of {source or member_ous} has {' and '.join(wanted)}; windows are {windows}")
    return table[keep]


def _alma_client():
    from astroquery.alma import Alma

    return Alma()


def _asked(what: str, call: Callable, *args, **options):
    """Answer of the client; whatever it raises is said in one sentence."""
    try:
        return call(*args, **options)
    except Exception as error:  # requests, pyvo and astroquery raise many kinds: all mean that the archive did not answer
        raise InputError(f"ALMA archive, {what}: {type(error).__name__}: {error}; run again later, or from another mirror (almascience.eso.org)") from error


def _covers(row, frequency_hz) -> bool:
    """Whether a window of ``frequency_support``, ``[112.35..114.23GHz,...] U [...]``, holds the frequency."""
    if frequency_hz is None:
        return True
    ghz = frequency_hz / 1e9
    return any(float(low) <= ghz <= float(high) for low, high in re.findall(r"\[([\d.]+)\.\.([\d.]+)GHz", str(row["frequency_support"])))


def alma_products(table, client=None, with_raw: bool = True):
    """Files of the member OUS of `table`, astropy table of url, size [bytes] and kind, those that can be fetched."""
    from astropy.table import Table

    client = client or _alma_client()
    members = sorted({str(member) for member in table["member_ous_uid"]})
    listed = _asked("list of products", client.get_data_info, members, expand_tarfiles=False)
    kinds = ("#progenitor",) * (not with_raw)  # raw data, in ALMA's words
    files = [r for r in (listed if listed is not None else []) if r["access_url"] and r["semantics"] not in kinds]
    rows = [(str(r["access_url"]), int(r["content_length"]), str(r["semantics"]).lstrip("#")) for r in files]
    if not rows:
        raise InputError(f"the ALMA archive lists no files for {', '.join(members)}; are they still proprietary?")
    return Table(rows=sorted(set(rows)), names=("url", "size", "kind"))


def download_alma(products, folder, transport: Transport) -> list[Path]:
    """Files of `products` in `folder`; writes ``products.csv`` and ``NEXT.txt`` (what must still be done in CASA) beside them.

    Raises
    ------
    InputError
        When a file is missing or has another size than listed.
    """
    folder = Path(folder)
    files = [(RemoteFile(Request(row["url"]), int(row["size"]) if row["size"] > 0 else None), folder / _file_name(row["url"])) for row in products]
    came = transport.fetch_all(files, label="download ALMA [files]")
    missing = [entry["missing"] for entry in came if "missing" in entry]
    if missing:
        raise InputError(f"ALMA archive: {'; '.join(missing)}; run again: what is there is kept")
    stores.write_csv(folder / "products.csv", [dict(zip(products.colnames, row, strict=True)) for row in products.as_array().tolist()])
    with stores.replacing(folder / "NEXT.txt") as part:
        part.write_text(NEXT_IN_CASA + "\n")
    return [path for _, path in files]


def _file_name(url: str) -> str:
    """Name under which a remote file is kept: never hidden, never in another folder."""
    name = url.rsplit("/", 1)[-1]
    if not re.fullmatch(r"\w[\w.+-]*", name, re.ASCII):
        raise InputError(f"{url}: '{name}' is no name to keep a file under (letters, digits, . _ + -); fetch it by hand if you trust it")
    return name


def retrieve(observation: dict, frequency_hz: float, folder, transport: Transport | None = None, client=None) -> dict:
    """Fill `folder` with what a galaxy's `observation` of kind zenodo (as observation.npz) or alma names; returns what came.

    What an earlier attempt left in the folder is gone on from.

    Raises
    ------
    InputError
        When the archive does not give it, or the observation is of another kind.
    """
    kind, folder, transport = observation["kind"], Path(folder), transport or Transport()
    if kind == "zenodo":
        files = zenodo_files(observation["record"], transport)
        grids = [name for name in files if name.endswith(".npz")]
        if "file" not in observation and len(grids) != 1:
            raise InputError(f"Zenodo record {observation['record']} has {len(grids)} files .npz; name one as observation.file: {', '.join(sorted(files))}")
        manifest = download_zenodo(observation["record"], observation.get("file") or grids[0], folder / "observation.npz", transport)
        print(f"{manifest['name']}: {manifest['size']} bytes, md5 {manifest['md5']} as the record says")
        return manifest
    if kind == "alma":
        products = alma_products(query_alma(observation["source"], frequency_hz, observation["member_ous"], client), client)
        download_alma(products, folder, transport)
        print(NEXT_IN_CASA)
        return {"member_ous": observation["member_ous"], "products": [dict(zip(products.colnames, row, strict=True)) for row in products.as_array().tolist()]}
    raise InputError(f"config: observation.kind is {kind}: there is nothing to download")
