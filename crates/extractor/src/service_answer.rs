//! What a service said when it refused: the error bodies of the API (JSON), the sign-in authority (JSON) and the blob
//! store (XML) as one value that is safe to print. Does not judge: what a refusal means is its caller's business.

use std::fmt;

use serde::Deserialize;

/// The longest text taken over from a service, in characters.
const MAX_TEXT: usize = 400;

/// A refusal. Texts are cut to 400 characters, freed of control characters and of anything that looks like a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceAnswer {
    /// HTTP status.
    pub status: u16,
    /// The service's error code.
    pub code: Option<String>,
    /// The service's message.
    pub message: Option<String>,
    /// The correlation GUID that Microsoft's support asks for.
    pub target: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum WireError {
    Api {
        code: Option<String>,
        message: Option<String>,
        target: Option<String>,
    },
    SignIn(String),
}

#[derive(Deserialize)]
struct WireBody {
    error: WireError,
    error_description: Option<String>,
    correlation_id: Option<String>,
}

impl ServiceAnswer {
    /// An answer that says nothing of itself, with our words on what is wrong with it.
    pub(crate) fn of(status: u16, message: &str) -> Box<Self> {
        Box::new(Self {
            status,
            code: None,
            message: Some(message.to_owned()),
            target: None,
        })
    }

    /// Reads an error body in any of the three forms; another body, such as a gateway's HTML, leaves the status alone.
    /// `secrets` are masked should the service repeat them.
    pub(crate) fn parse(status: u16, body: &[u8], secrets: &[&str]) -> Self {
        let clean = |text: Option<String>| {
            text.map(|text| scrub(&text, secrets))
                .filter(|text| !text.is_empty())
        };
        let mut answer = Self {
            status,
            code: None,
            message: None,
            target: None,
        };
        if let Ok(wire) = serde_json::from_slice::<WireBody>(body) {
            match wire.error {
                WireError::Api {
                    code,
                    message,
                    target,
                } => {
                    answer.code = clean(code);
                    answer.message = clean(message);
                    answer.target = clean(target);
                }
                WireError::SignIn(code) => {
                    answer.code = clean(Some(code));
                    answer.message = clean(wire.error_description);
                    answer.target = clean(wire.correlation_id);
                }
            }
        } else {
            let text = String::from_utf8_lossy(body);
            answer.code = clean(element(&text, "Code"));
            answer.message = clean(
                element(&text, "AuthenticationErrorDetail").or_else(|| element(&text, "Message")),
            );
        }
        answer
    }

    /// Whether the message has the words, in any case.
    pub(crate) fn mentions(&self, words: &str) -> bool {
        self.message
            .as_ref()
            .is_some_and(|message| message.to_ascii_lowercase().contains(words))
    }
}

impl fmt::Display for ServiceAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status)?;
        if let Some(code) = &self.code {
            write!(f, " {code}")?;
        }
        if let Some(message) = &self.message {
            write!(f, ": {message}")?;
        }
        if let Some(target) = &self.target {
            write!(f, " (correlation id {target})")?;
        }
        Ok(())
    }
}

fn element(xml: &str, name: &str) -> Option<String> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    Some(text.to_owned())
}

/// A foreign text made safe to print: secrets masked, control characters to spaces, bounded length.
pub(crate) fn scrub(text: &str, secrets: &[&str]) -> String {
    let mut text = text.to_owned();
    for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
        text = text.replace(secret, "<withheld>");
    }
    let words: Vec<String> = text
        .split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
        .map(without_signature)
        .collect();
    let joined = words.join(" ");
    match joined.char_indices().nth(MAX_TEXT) {
        Some((end, _)) => format!("{}…", &joined[..end]),
        None => joined,
    }
}

/// Cuts a word where a signed URL's query or a JSON web token begins.
fn without_signature(word: &str) -> String {
    let lower = word.to_ascii_lowercase();
    let start = ["sig=", "eyj"]
        .iter()
        .filter_map(|mark| lower.find(mark))
        .min();
    match start {
        Some(start) => format!("{}<withheld>", &word[..start]),
        None => word.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_bodies_of_all_three_services() {
        let api = br#"{"error":{"code":"Forbidden","message":"role missing","target":"0f1e"}}"#;
        let answer = ServiceAnswer::parse(403, api, &[]);
        assert_eq!(
            answer.to_string(),
            "403 Forbidden: role missing (correlation id 0f1e)"
        );
        let sign_in = br#"{"error":"invalid_client","error_codes":[7000215],"correlation_id":"c1",
            "error_description":"AADSTS7000215: Invalid client secret.\r\nTrace ID: 1"}"#;
        let answer = ServiceAnswer::parse(401, sign_in, &[]);
        assert_eq!(
            answer.to_string(),
            "401 invalid_client: AADSTS7000215: Invalid client secret. Trace ID: 1 (correlation id c1)"
        );
        let blob = "\u{feff}<?xml version=\"1.0\"?><Error><Code>AuthenticationFailed</Code><Message>m</Message>\
            <AuthenticationErrorDetail>Signature not valid in the specified key time \
            frame</AuthenticationErrorDetail></Error>";
        let answer = ServiceAnswer::parse(403, blob.as_bytes(), &[]);
        assert!(answer.mentions("time frame"));
        assert_eq!(answer.code.as_deref(), Some("AuthenticationFailed"));
        for body in [
            "<html>Bad gateway</html>",
            "",
            "[1,2",
            "{\"error\":7}",
            "\u{0}",
        ] {
            assert_eq!(
                ServiceAnswer::parse(502, body.as_bytes(), &[]).to_string(),
                "502"
            );
        }
    }

    #[test]
    fn foreign_texts_lose_secrets_control_characters_and_length() {
        let text =
            "bad\u{1b}[31m token s3cr3t of https://a/b?sv=1&sig=abc%2B and Bearer eyJhbGci.x.y";
        assert_eq!(
            scrub(text, &["s3cr3t"]),
            "bad [31m token <withheld> of https://a/b?sv=1&<withheld> and Bearer <withheld>"
        );
        assert_eq!(scrub(&"é".repeat(1000), &[]).chars().count(), MAX_TEXT + 1);
    }
}
