//! What a recipe file may say, and how mistakes in it are told.

use super::*;

const MINIMAL: &str = r#"
    export = "Things"
    permission = "Things.Read"
    key = ["Id"]
    rows = [1, 1]
"#;

/// A recipe with the columns given, resolved.
fn record(columns: &str) -> Result<Record, RecipeError> {
    let text = format!("{MINIMAL}\ncolumns = [{{ key = \"Id\", text = \"x\" }}, {columns}]");
    Recipe::parse("things", &text)?
        .record()
        .map(|record| record.unwrap())
}

#[test]
fn every_recipe_that_the_program_carries_can_be_followed() {
    let all = Recipe::built_in().unwrap();
    assert!(all.len() >= 10);
    for recipe in all {
        let record = recipe.record().unwrap();
        assert_eq!(record.is_none(), recipe.dataset == DEFAULT);
        assert!(
            recipe.files.is_some() || recipe.pages.is_some(),
            "{}",
            recipe.dataset
        );
        let paths = [recipe.files.as_ref(), recipe.changes.as_ref()];
        for endpoint in paths.into_iter().flatten() {
            assert_eq!(endpoint.path, endpoint.path.to_lowercase());
            assert!(endpoint.path.starts_with("machines/"), "{}", endpoint.path);
        }
    }
}

#[test]
fn an_unknown_name_is_told_the_known_ones() {
    let error = Recipe::of("info_gatherin", None).unwrap_err().to_string();
    assert!(error.contains("`info_gatherin`"), "{error}");
    assert!(
        error.contains("info_gathering, machines, secure_configurations"),
        "{error}"
    );
}

#[test]
fn mistakes_are_told_by_column_and_reason() {
    for (column, expected) in [
        (
            r#"{ key = "A", text = "{nme}" }"#,
            "no item and no case has a field `nme`",
        ),
        (r#"{ key = "A", text = "{n" }"#, "without its counterpart"),
        (
            r#"{ key = "A", text = "{device.color}" }"#,
            "`{device.color}` is no placeholder",
        ),
        (
            r#"{ key = "A", device = "color" }"#,
            "a device has no `color`",
        ),
        (r#"{ key = "A" }"#, "says what it is"),
        (
            r#"{ key = "A", text = "x", chance = 0.5 }"#,
            "either `text` or `chance`",
        ),
        (
            r#"{ key = "A", text = "x", null = 0.5 }"#,
            "`text` has no `null`",
        ),
        (
            r#"{ key = "A", text = "x", nulls = 1.5 }"#,
            "a share is between 0 and 1",
        ),
        (r#"{ key = "A", integer = [3, 1] }"#, "3 to 1 is no range"),
        (r#"{ key = "A", pick = [] }"#, "weights above 0"),
        (
            r#"{ key = "A", time = "noon", days = [0, 1] }"#,
            "`noon` is no time",
        ),
    ] {
        let error = record(column).unwrap_err().to_string();
        assert!(
            error.contains("column `A`") && error.contains(expected),
            "{error}"
        );
    }
    let error = Recipe::parse("things", &format!("{MINIMAL} columns = []"))
        .unwrap()
        .record()
        .unwrap_err();
    assert!(error.to_string().contains("no column is `Id`"), "{error}");
    assert!(
        Recipe::parse("things", "colums = []")
            .unwrap_err()
            .to_string()
            .contains("colums")
    );
}

#[test]
fn what_is_known_is_resolved_and_escaped_once() {
    let json = |column: &str| match &record(column).unwrap().variants[0].fields[1].value {
        Value::Json(json) => String::from_utf8(json.to_vec()).unwrap(),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        json(r#"{ key = "A", text = "C:\\a \"{{b}}\" {n:3}" }"#),
        r#""C:\\a \"{b}\" 000""#
    );
    assert_eq!(
        json(r#"{ key = "A", pick = [1] }"#.replace("pick = [1]", "text = \"\"").as_str()),
        "\"\""
    );
}

#[test]
fn the_example_of_the_readme_is_a_recipe() {
    let readme = include_str!("../../recipes/README.md");
    let example = readme
        .split("```")
        .nth(1)
        .unwrap()
        .trim_start_matches("toml");
    let recipe = Recipe::parse("network_shares", example).unwrap();
    let record = recipe.record().unwrap().unwrap();
    assert_eq!((record.variants.len(), recipe.key.len()), (21, 2));
}
