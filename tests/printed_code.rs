//! Values in printed code, read back by the languages themselves: whoever writes the lake must not write what an analyst runs.

use std::io::Write;
use std::process::Stdio;

use pipeline::literal;

use crate::harness::readers::python_for;

/// Each line of the input is a JSON list of a value, its literal in Python and its literal in SQL.
const READ_BACK: &str = r#"
import ast, json, sys
import duckdb

connection = duckdb.connect()
for line in sys.stdin:
    value, python, sql = json.loads(line)
    assert ast.literal_eval(python) == value, (value, python)
    tree = ast.parse(f"f({python})")
    assert len(tree.body) == 1 and isinstance(tree.body[0].value.args[0], ast.Constant), python
    [statement] = duckdb.extract_statements(f"SELECT {sql}")
    found = connection.execute(f"SELECT {sql}").fetchone()[0]
    assert found == value.replace("\0", "\ufffd"), (value, sql, found)
print("all")
"#;

#[test]
fn python_and_duckdb_read_every_literal_as_the_value_that_it_is_of() {
    let mut values: Vec<String> = [
        "",
        "plain",
        "'); import os; os.system('x') #",
        "\"); import os #",
        r#"\""#,
        r"\",
        "'; DROP TABLE x; --",
        "''",
        "a\nb\r\n\0\u{1b}[2J",
        "\u{202e}\u{2028}\u{feff}\u{e0041}",
        "e\u{301} \u{301} 中 👩\u{200d}👩",
    ]
    .map(str::to_owned)
    .into();
    let mut random = fastrand::Rng::with_seed(27);
    let pieces = [
        "'", "\"", r"\", "\n", "\r", "\0", "#", ";", "--", "/*", "{", "}", "$", "\u{85}",
        "\u{2029}", "x", "é", " ",
    ];
    for _ in 0..2_000 {
        let length = random.usize(..12);
        let piece = |_| match random.bool() {
            true => random.choice(pieces).unwrap_or_default().to_owned(),
            false => random.char(..).to_string(),
        };
        values.push((0..length).map(piece).collect());
    }
    let mut reader = python_for("duckdb", READ_BACK)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = reader.stdin.take().unwrap();
    for value in &values {
        let line = serde_json::json!([value, literal::python(value), literal::sql(value)]);
        writeln!(input, "{line}").unwrap();
    }
    drop(input);
    let output = reader.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "all");
}
