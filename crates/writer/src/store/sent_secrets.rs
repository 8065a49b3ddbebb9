//! What a request proves its right with, so that words of an answer that repeat it are shown without: a store, or a proxy before it,
//! may put whole requests into its errors.

use std::cmp::Reverse;

use object_store::client::HttpRequest;
use url::form_urlencoded;

/// Parameters of queries and forms, in lower case.
const SECRET_NAMES: [&str; 5] = [
    "sig",
    "x-amz-signature",
    "x-amz-security-token",
    "client_secret",
    "client_assertion",
];
/// How the type of a form's body begins.
const FORM: &[u8] = b"application/x-www-form-urlencoded";
/// What stands in an error in a secret's place.
const WITHHELD: &str = "<withheld>";
/// Shorter values are no secrets, and would be found in words that tell of none.
const SHORTEST: usize = 8;

/// The secrets that one request carries.
pub(crate) struct SentSecrets(Vec<String>);

impl SentSecrets {
    /// Of headers, of the query and of the form that asks for a token.
    pub(crate) fn of(request: &HttpRequest) -> Self {
        let mut found = Vec::new();
        let headers = request.headers();
        for name in ["authorization", "x-amz-security-token"] {
            for value in headers
                .get_all(name)
                .iter()
                .filter_map(|value| value.to_str().ok())
            {
                // `Bearer TOKEN`, `SharedKey ACCOUNT:SIGNATURE`, `AWS4-HMAC-SHA256 …, Signature=SIGNATURE`
                let last = [" ", ":", "Signature="].map(|mark| value.rsplit_once(mark));
                found.push(value.to_owned());
                found.extend(last.into_iter().flatten().map(|(_, last)| last.to_owned()));
            }
        }
        let is_form = headers
            .get("content-type")
            .is_some_and(|kind| kind.as_bytes().starts_with(FORM));
        let form = request.body().as_bytes().filter(|_| is_form);
        let form = form.and_then(|form| std::str::from_utf8(form).ok());
        let texts = request.uri().query().into_iter().chain(form);
        found.extend(texts.flat_map(secret_values));
        found.retain(|secret| secret.len() >= SHORTEST);
        // The longest first: another may be a part of it.
        found.sort_by_key(|secret| Reverse(secret.len()));
        Self(found)
    }

    /// `words` without them.
    pub(crate) fn withheld_from(&self, words: String) -> String {
        let secrets = self.0.iter();
        secrets.fold(words, |words, secret| words.replace(secret, WITHHELD))
    }
}

/// Values of a query or a form that are secrets, as they are written and as they are meant.
fn secret_values(pairs: &str) -> Vec<String> {
    let mut found = Vec::new();
    for pair in pairs.split('&') {
        let written = pair.split_once('=').map_or("", |(_, value)| value);
        for (name, value) in form_urlencoded::parse(pair.as_bytes()) {
            if SECRET_NAMES.contains(&name.to_ascii_lowercase().as_str()) {
                found.extend([written.to_owned(), value.into_owned()]);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use object_store::client::HttpRequestBody;

    use super::*;

    const SECRETS: [&str; 7] = [
        "AbCdEfGhIjKl+/==",
        "eyJ0.eyJh.c2ln",
        "0123456789abcdef",
        "IQoJb3JpZ2lu",
        "AbCd%2BEfGh",
        "AbCd+EfGh",
        "hunter2hunter2",
    ];

    fn request(target: &str, headers: &[(&'static str, &str)], body: &str) -> HttpRequest {
        let mut request = HttpRequest::new(HttpRequestBody::from(body.to_owned()));
        *request.uri_mut() = target.parse().unwrap();
        for &(name, value) in headers {
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        request
    }

    #[test]
    fn an_answer_that_repeats_its_request_is_shown_without_secrets() {
        let requests = [
            request(
                "http://a/b?comp=list",
                &[("authorization", "SharedKey account:AbCdEfGhIjKl+/==")],
                "",
            ),
            request(
                "http://a/b",
                &[("authorization", "Bearer eyJ0.eyJh.c2ln")],
                "",
            ),
            request(
                "http://a/b",
                &[
                    (
                        "authorization",
                        "AWS4-HMAC-SHA256 Credential=AKIA/s3, SignedHeaders=host, Signature=0123456789abcdef",
                    ),
                    ("x-amz-security-token", "IQoJb3JpZ2lu"),
                ],
                "",
            ),
            request("http://a/b?sv=2021&sig=AbCd%2BEfGh", &[], ""),
            request(
                "http://a/token",
                &[("content-type", "application/x-www-form-urlencoded")],
                "client_id=app&client_secret=hunter2hunter2",
            ),
        ];
        let said = format!("denied: [{}] of container b", SECRETS.join("] ["));
        let mut left = said.clone();
        for request in &requests {
            let shown = SentSecrets::of(request).withheld_from(said.clone());
            assert_ne!(shown, said, "{}", request.uri());
            left = SentSecrets::of(request).withheld_from(left);
        }
        let withheld = [WITHHELD; SECRETS.len()].join("] [");
        assert_eq!(left, format!("denied: [{withheld}] of container b"));
    }

    #[test]
    fn words_that_repeat_nothing_stay() {
        let request = request("http://a/b?sig=", &[("authorization", "Basic x")], "");
        let words = "x: no such container".to_owned();
        assert_eq!(
            SentSecrets::of(&request).withheld_from(words.clone()),
            words
        );
    }
}
