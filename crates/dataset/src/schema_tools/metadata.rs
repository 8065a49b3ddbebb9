//! Reads the service's OData `$metadata` (CSDL, XML): its types, their properties, and which type a function returns. Knows
//! nothing of datasets.

use std::collections::BTreeMap;

use roxmltree::{Document, Node};
use thiserror::Error;

/// What the service says of its types.
#[derive(Debug, Clone, Default)]
pub struct Metadata {
    /// By full name in lower case.
    types: BTreeMap<String, TypeOfService>,
    /// Function name in lower case to the full name of the type that it returns, alone or many of it.
    functions: BTreeMap<String, String>,
}

/// An entity or complex type, or one that stands for a simple one.
#[derive(Debug, Clone)]
pub(super) struct TypeOfService {
    pub(super) name: String,
    base: Option<String>,
    own: Vec<Property>,
    kind: TypeKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TypeKind {
    Structured,
    Enum,
}

/// A property of a type.
#[derive(Debug, Clone)]
pub(super) struct Property {
    pub(super) name: String,
    /// Such as `Edm.String` or `Collection(microsoft.windowsDefenderATP.api.permission)`.
    pub(super) type_name: String,
}

/// What a type name stands for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Meaning<'a> {
    /// The name after `Edm.`.
    Simple(&'a str),
    Structured(&'a TypeOfService),
    Enum,
    /// Declared elsewhere.
    Unknown,
}

/// Why metadata cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum MetadataError {
    /// The text is no XML.
    #[error("the metadata is no XML")]
    NotXml(#[source] roxmltree::Error),
    /// The XML declares no entity or complex type.
    #[error("the metadata declares no types: is it the answer to GET /api/$metadata?")]
    NoTypes,
    /// The type that was named is not there.
    #[error("the metadata has no type `{name}`")]
    NoSuchType {
        /// The name.
        name: String,
    },
    /// No type has a property that is a wire path of the dataset.
    #[error("no type of the metadata resembles dataset `{dataset}`: name one")]
    NoSimilarType {
        /// The dataset.
        dataset: String,
    },
}

/// How many types a type may inherit from, one from the next: more is a circle.
const MAX_BASES: usize = 16;

impl Metadata {
    /// Reads the text of `$metadata`.
    pub fn parse(xml: &str) -> Result<Self, MetadataError> {
        let xml = xml.strip_prefix('\u{feff}').unwrap_or(xml);
        let document = Document::parse(xml).map_err(MetadataError::NotXml)?;
        let mut metadata = Self::default();
        for node in document.descendants() {
            match node.tag_name().name() {
                "EntityType" | "ComplexType" => metadata.add_type(node, TypeKind::Structured),
                "EnumType" => metadata.add_type(node, TypeKind::Enum),
                "Function" => metadata.add_function(node),
                _ => {}
            }
        }
        if metadata.structured().next().is_none() {
            return Err(MetadataError::NoTypes);
        }
        Ok(metadata)
    }

    /// Names of the entity and complex types, in order.
    pub fn type_names(&self) -> impl Iterator<Item = &str> {
        self.structured().map(|found| found.name.as_str())
    }

    pub(super) fn structured(&self) -> impl Iterator<Item = &TypeOfService> {
        let types = self.types.values();
        types.filter(|found| found.kind == TypeKind::Structured)
    }

    fn add_type(&mut self, node: Node<'_, '_>, kind: TypeKind) {
        let Some(name) = node.attribute("Name") else {
            return;
        };
        let schema = node.parent();
        let namespace = schema.and_then(|schema| schema.attribute("Namespace"));
        let name = match namespace {
            Some(namespace) => format!("{namespace}.{name}"),
            None => name.to_owned(),
        };
        let properties = node
            .children()
            .filter(|child| is_element(child, "Property"));
        let own = properties.filter_map(|property| {
            Some(Property {
                name: property.attribute("Name")?.to_owned(),
                type_name: property.attribute("Type")?.to_owned(),
            })
        });
        let found = TypeOfService {
            base: node.attribute("BaseType").map(str::to_owned),
            own: own.collect(),
            name,
            kind,
        };
        self.types.insert(found.name.to_ascii_lowercase(), found);
    }

    fn add_function(&mut self, node: Node<'_, '_>) {
        let returns = node
            .children()
            .find(|child| is_element(child, "ReturnType"));
        let returns = returns.and_then(|returns| returns.attribute("Type"));
        if let (Some(name), Some(returns)) = (node.attribute("Name"), returns) {
            let returns = item_type(returns).unwrap_or(returns);
            self.functions
                .insert(name.to_ascii_lowercase(), returns.to_owned());
        }
    }

    /// The type of that name, with or without its namespace.
    pub(super) fn type_of_name(&self, name: &str) -> Option<&TypeOfService> {
        let folded = name.to_ascii_lowercase();
        self.types.get(&folded).or_else(|| {
            let mut types = self.structured();
            types.find(|found| short_name(&found.name).eq_ignore_ascii_case(name))
        })
    }

    /// The structured type that a function returns.
    pub(super) fn returned_by(&self, function: &str) -> Option<&TypeOfService> {
        let name = self.functions.get(&function.to_ascii_lowercase())?;
        match self.meaning(name) {
            Meaning::Structured(found) => Some(found),
            _ => None,
        }
    }

    /// The properties of a type and of those that it inherits from.
    pub(super) fn properties<'a>(&'a self, found: &'a TypeOfService) -> Vec<&'a Property> {
        let mut properties: Vec<&Property> = Vec::new();
        let mut next = Some(found);
        for _ in 0..MAX_BASES {
            let Some(found) = next else { break };
            properties.extend(&found.own);
            next = found
                .base
                .as_ref()
                .and_then(|base| self.types.get(&base.to_ascii_lowercase()));
        }
        properties
    }

    /// What a type name stands for; not for those of collections.
    pub(super) fn meaning<'a>(&'a self, type_name: &'a str) -> Meaning<'a> {
        if let Some(simple) = type_name.strip_prefix("Edm.") {
            return Meaning::Simple(simple);
        }
        match self.type_of_name(type_name) {
            Some(found) if found.kind == TypeKind::Structured => Meaning::Structured(found),
            Some(_) => Meaning::Enum,
            None => Meaning::Unknown,
        }
    }
}

/// `T` of `Collection(T)`.
pub(super) fn item_type(type_name: &str) -> Option<&str> {
    type_name.strip_prefix("Collection(")?.strip_suffix(')')
}

fn short_name(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

/// Whether a node is that element. By its local name: the namespace of CSDL has changed with its versions.
fn is_element(node: &Node<'_, '_>, name: &str) -> bool {
    node.is_element() && node.tag_name().name() == name
}
