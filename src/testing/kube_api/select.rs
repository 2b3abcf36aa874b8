//! Label and field selectors.

use super::object::Stored;

/// What a request wants of all objects of its kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Selector {
    pub(super) namespace: Option<String>,
    labels: Vec<Term>,
    fields: Vec<Term>,
}

/// One requirement. For fields it has one value.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Term {
    key: String,
    test: Test,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Test {
    Exists,
    Missing,
    In(Vec<String>),
    NotIn(Vec<String>),
}

impl Selector {
    /// Reads the texts of `labelSelector` and `fieldSelector`.
    pub(super) fn new(
        namespace: Option<String>,
        labels: &str,
        fields: &str,
    ) -> Result<Selector, String> {
        let selector = Selector {
            namespace,
            labels: terms(labels)?,
            fields: terms(fields)?,
        };
        for term in &selector.fields {
            let is_known = FIELDS.contains(&term.key.as_str());
            let is_comparison = matches!(term.test, Test::In(_) | Test::NotIn(_));
            if !is_known || !is_comparison {
                return Err(format!("field label not supported: {}", term.key));
            }
        }
        Ok(selector)
    }

    /// Whether it takes everything, so that no object need be made to find out.
    pub(super) fn is_all(&self) -> bool {
        self.namespace.is_none() && self.labels.is_empty() && self.fields.is_empty()
    }

    /// Whether it takes that object.
    pub(super) fn takes(&self, stored: &Stored) -> bool {
        let namespace = self.namespace.as_deref();
        if namespace.is_some_and(|namespace| namespace != stored.namespace()) {
            return false;
        }
        let labels = stored.all_labels();
        let label = |key: &str| labels.iter().find(|(found, _)| *found == key);
        let field = |key: &str| match key {
            "metadata.name" => stored.name(),
            "metadata.namespace" => stored.namespace(),
            _ => &stored.phase,
        };
        self.labels
            .iter()
            .all(|term| term.test.holds(label(&term.key).map(|(_, value)| *value)))
            && self
                .fields
                .iter()
                .all(|term| term.test.holds(Some(field(&term.key))))
    }
}

impl Test {
    /// A label that is not there is in no set, so `notin` and `!=` hold.
    fn holds(&self, value: Option<&str>) -> bool {
        let is_in = |set: &[String]| value.is_some_and(|value| set.iter().any(|one| one == value));
        match self {
            Test::Exists => value.is_some(),
            Test::Missing => value.is_none(),
            Test::In(set) => is_in(set),
            Test::NotIn(set) => !is_in(set),
        }
    }
}

fn terms(text: &str) -> Result<Vec<Term>, String> {
    let mut terms = Vec::new();
    let mut depth = 0;
    let parts = text.split(|c| {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        c == ',' && depth == 0
    });
    for part in parts.map(str::trim).filter(|part| !part.is_empty()) {
        terms.push(term(part).ok_or_else(|| format!("unable to parse requirement: {part}"))?);
    }
    Ok(terms)
}

fn term(part: &str) -> Option<Term> {
    let one = |value: &str| vec![value.trim().to_owned()];
    let (key, test) = if let Some((key, value)) = part.split_once("!=") {
        (key, Test::NotIn(one(value)))
    } else if let Some((key, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
        (key, Test::In(one(value)))
    } else if let Some(body) = part.strip_suffix(')') {
        let (head, set) = body.split_once('(')?;
        let set = set.split(',').map(|value| value.trim().to_owned());
        let (key, word) = head.trim().split_once(char::is_whitespace)?;
        match word.trim() {
            "in" => (key, Test::In(set.collect())),
            "notin" => (key, Test::NotIn(set.collect())),
            _ => return None,
        }
    } else if let Some(key) = part.strip_prefix('!') {
        (key, Test::Missing)
    } else {
        (part, Test::Exists)
    };
    let key = key.trim();
    let is_key =
        !key.is_empty() && !key.contains(|c: char| c.is_whitespace() || "()!=".contains(c));
    is_key.then(|| Term {
        key: key.to_owned(),
        test,
    })
}

const FIELDS: [&str; 3] = ["metadata.name", "metadata.namespace", "status.phase"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kube::record::{Object, Pod};

    fn pod() -> Stored {
        let pod = Pod {
            namespace: "shop".into(),
            name: "web-0".into(),
            labels: vec![("app".into(), "web".into())],
            ..Pod::default()
        };
        Stored::labelled(Object::Pod(pod), &[("tier", "front")])
    }

    #[test]
    fn labels_select() {
        for (text, expect) in [
            ("", true),
            ("app=web", true),
            ("app==web", true),
            ("app = web , tier=front", true),
            ("app=db", false),
            ("app!=web", false),
            ("app!=db", true),
            ("none!=x", true),
            ("none=x", false),
            ("app in (db, web)", true),
            ("app in (db)", false),
            ("app notin (db,web),tier", false),
            ("none notin (db)", true),
            ("app", true),
            ("none", false),
            ("!app", false),
            ("!none", true),
        ] {
            let selector = Selector::new(None, text, "").unwrap();
            assert_eq!(selector.takes(&pod()), expect, "{text}");
        }
        for text in ["app in", "app of (x)", "=x", "in (a)", "a b"] {
            Selector::new(None, text, "").expect_err(text);
        }
    }

    #[test]
    fn fields_select() {
        for (text, expect) in [
            ("status.phase=Running", true),
            ("status.phase!=Succeeded,status.phase!=Failed", true),
            ("status.phase!=Running", false),
            ("metadata.name=web-0,metadata.namespace=shop", true),
            ("metadata.namespace=other", false),
        ] {
            let selector = Selector::new(None, "", text).unwrap();
            assert_eq!(selector.takes(&pod()), expect, "{text}");
        }
        Selector::new(None, "", "spec.nodeName=x").unwrap_err();
        Selector::new(None, "", "status.phase").unwrap_err();
    }

    #[test]
    fn a_namespace_selects() {
        for (namespace, expect) in [("shop", true), ("sho", false)] {
            let selector = Selector::new(Some(namespace.into()), "", "").unwrap();
            assert_eq!(selector.takes(&pod()), expect, "{namespace}");
        }
    }
}
