"""What tests do to an S3 bucket or an Azure container besides running the program:

    store.py create NAME             creates the bucket or container
    store.py download PATH FOLDER    copies all objects below PATH (NAME/PREFIX) into FOLDER
    store.py upload FOLDER PATH      copies the files below FOLDER to objects below PATH (NAME/PREFIX)
    store.py uploads PATH            prints the keys of the uploads below PATH that were begun and neither completed nor
                                     aborted, one a line; S3 only
    store.py sas NAME [RIGHTS]       prints a shared access signature for the account, by default with all rights; Azure only

The environment variable STORE holds as JSON: kind (`s3` or `azure`), endpoint (host:port), id, secret and region.
"""

import base64
import hashlib
import hmac
import json
import os
import sys
import urllib.parse

from pyarrow import fs


def connect(store: dict) -> fs.FileSystem:
    if store["kind"] == "s3":
        return fs.S3FileSystem(
            access_key=store["id"],
            secret_key=store["secret"],
            endpoint_override=store["endpoint"],
            scheme="http",
            region=store["region"],
            allow_bucket_creation=True,
        )
    return fs.AzureFileSystem(
        account_name=store["id"],
        account_key=store["secret"],
        blob_storage_authority=store["endpoint"],
        blob_storage_scheme="http",
        dfs_storage_authority=store["endpoint"],
        dfs_storage_scheme="http",
    )


def open_uploads(store: dict, path: str) -> list[str]:
    import boto3

    bucket, prefix = path.split("/", 1)
    client = boto3.client(
        "s3",
        aws_access_key_id=store["id"],
        aws_secret_access_key=store["secret"],
        endpoint_url=f"http://{store['endpoint']}",
        region_name=store["region"],
    )
    pages = client.get_paginator("list_multipart_uploads").paginate(Bucket=bucket, Prefix=prefix)
    return [upload["Key"] for page in pages for upload in page.get("Uploads", [])]


def sas(store: dict, rights: str = "rwdlacup") -> str:
    terms = {"sp": rights, "ss": "b", "srt": "sco", "st": "", "se": "2099-01-01T00:00:00Z"}
    terms |= {"sip": "", "spr": "", "sv": "2019-12-12"}
    signed = "".join(f"{term}\n" for term in [store["id"], *terms.values()])
    key = base64.b64decode(store["secret"])
    signature = base64.b64encode(hmac.new(key, signed.encode(), hashlib.sha256).digest()).decode()
    given = {name: term for name, term in terms.items() if term}
    return urllib.parse.urlencode(given | {"sig": signature})


def main() -> None:
    verb, path, *folder = sys.argv[1:]
    store = json.loads(os.environ["STORE"])
    if verb == "uploads":
        for key in open_uploads(store, path):
            print(key)
        return
    if verb == "sas":
        print(sas(store, *folder))
        return
    filesystem = connect(store)
    if verb == "upload":
        fs.copy_files(path, folder[0], destination_filesystem=filesystem)
        return
    if verb == "create":
        filesystem.create_dir(path)
    elif verb == "download":
        os.makedirs(folder[0], exist_ok=True)
        if filesystem.get_file_info(path).type != fs.FileType.NotFound:
            fs.copy_files(path, folder[0], source_filesystem=filesystem)
    else:
        raise SystemExit(f"no such verb: {verb}")


main()
