// Reads Parquet files as users of one library of JavaScript do; prints what compatibility.py prints.
//
//     javascript_readers.mjs FOLDER READER FILE...
//
// FOLDER has the libraries in `node_modules`.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const COLUMNS = [
  "device_id",
  "generated_time",
  "av_quick_scan_time",
  "av_is_signature_up_to_date",
  "sch_use_strong_crypto_40",
];
const [folder, reader, ...files] = process.argv.slice(2);
const require = createRequire(join(folder, "package.json"));
const load = (name) => import(pathToFileURL(require.resolve(name)));

const READERS = {
  hyparquet: async (file) => {
    const { asyncBufferFromFile, parquetReadObjects } = await load("hyparquet");
    const { compressors } = await load("hyparquet-compressors");
    return parquetReadObjects({ file: await asyncBufferFromFile(file), columns: COLUMNS, compressors });
  },
  "parquet-wasm": async (file) => {
    const { readParquet } = require("parquet-wasm/node");
    const { tableFromIPC } = await load("apache-arrow");
    const table = tableFromIPC(readParquet(readFileSync(file), { columns: COLUMNS }).intoIPCStream());
    return table.toArray().map((row) => row.toJSON());
  },
  "@dsnp/parquetjs": async (file) => {
    const { ParquetReader } = require("@dsnp/parquetjs");
    const opened = await ParquetReader.openFile(file);
    const cursor = opened.getCursor(COLUMNS.map((name) => [name]));
    const rows = [];
    for (let row = await cursor.next(); row; row = await cursor.next()) rows.push(row);
    await opened.close();
    return rows;
  },
};

const plain = (value) => {
  if (value === undefined || value === null) return null;
  if (value instanceof Date) return value.getTime();
  if (typeof value === "bigint") return Number(value);
  return typeof value === "number" ? Math.floor(value) : value;
};

const rows = [];
for (const file of files) {
  for (const row of await READERS[reader](file)) rows.push(COLUMNS.map((name) => plain(row[name])));
}
rows.sort((a, b) => (a[0] < b[0] ? -1 : a[0] > b[0] ? 1 : 0));
const { version } = JSON.parse(readFileSync(join(folder, "node_modules", reader, "package.json")));
console.log(JSON.stringify({ version: version.replace(/^v/, ""), rows }));
