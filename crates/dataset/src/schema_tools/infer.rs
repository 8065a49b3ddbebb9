//! Looks at records one by one and remembers what a schema must say of them, in bounded memory.

use serde_json::Value;

use super::evidence::{Objects, PathBudget};
use super::key_sample::KeySample;

/// What any number of records have shown. Memory is bounded: some thousands of paths, a thousand distinct values a path, a few
/// short examples, and the key values of the first 20,000 records.
#[derive(Debug, Default)]
pub struct Inference {
    pub(super) objects: Objects,
    pub(super) keys: KeySample,
    pub(super) not_objects: u64,
    budget: PathBudget,
}

impl Inference {
    /// Looks at a record. What is no object is counted, and says nothing else.
    pub fn add(&mut self, record: &Value) {
        let Value::Object(object) = record else {
            self.not_objects += 1;
            return;
        };
        self.objects
            .add(object, 0, &mut String::new(), &mut self.budget);
        self.keys.add(object);
    }

    /// Records that were looked at, but for what is no object.
    pub fn records(&self) -> u64 {
        self.objects.count
    }
}
