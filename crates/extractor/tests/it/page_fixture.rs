//! What the tests of pages share: a service of three pages, links with skip tokens, a folder.

use std::io::Read;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use extractor::{Credential, FetchedPages, PageLimits, PagedApi, PagesError, PagesRequest};
use flate2::read::MultiGzDecoder;

use crate::fixture::{self, token};
use crate::server::{Answer, TestServer};

pub(crate) const ENDPOINT: &str = "/api/machines/SoftwareByMachine";
const DATE: (&str, &str) = ("Date", "Sun, 03 May 2026 10:02:03 GMT");
const SNAPSHOT: &str = "2026-05-03/1001/";
/// In every skip token, and in no message.
pub(crate) const SECRET: &str = "s3cr3t-of-the-skip-token";

pub(crate) fn paged(base: &str) -> PagedApi {
    let claims = r#"{"tid":"t1","appid":"c1"}"#;
    fixture::paged(base, Credential::Token(token(claims).into()))
}

pub(crate) fn request() -> PagesRequest {
    PagesRequest {
        endpoint: ENDPOINT.to_owned(),
        permission: "Software.Read.All".to_owned(),
        query: vec![("pageSize".to_owned(), "2".to_owned())],
        export_name: "SoftwareInventory".to_owned(),
        org_id: Some("47d41a0c-188d-46d3-bbea-a93dbc0bfcaa".parse().unwrap()),
        not_found_is_empty: false,
        limits: PageLimits::default(),
    }
}

/// A folder that is not there yet.
pub(crate) struct Place(tempfile::TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.path("state/pages")
    }

    pub(crate) fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }
}

pub(crate) fn skip_token(snapshot: &str, page: u32) -> String {
    let json = format!(
        r#"{{"ExportDefinition":{{"TimePath":"{snapshot}","Note":"{SECRET}"}},"ExportFileIndex":0,"LineStoppedAt":{page}}}"#
    );
    BASE64_STANDARD.encode(json)
}

/// The page of that number, one row each of `rows` ids, and a next link if any.
pub(crate) fn page(rows: &[&str], next: Option<&str>) -> Answer {
    let rows: Vec<String> = rows
        .iter()
        .map(|id| format!(r#"{{"deviceId":"{id}"}}"#))
        .collect();
    let next = next.map_or_else(String::new, |link| {
        format!(r#","@odata.nextLink":"{link}""#)
    });
    let body = format!(
        r#"{{"@odata.context":"c","value":[{}]{next}}}"#,
        rows.join(",\n")
    );
    Answer::whole(200, &[DATE], body)
}

/// Which page a request asks for: the number in its skip token, 0 without one.
pub(crate) fn page_asked(request: &str) -> u32 {
    let Some((_, rest)) = request.split_once("skiptoken=") else {
        return 0;
    };
    let token = rest.split([' ', '&']).next().unwrap();
    let json = String::from_utf8(BASE64_STANDARD.decode(token).unwrap()).unwrap();
    let (_, number) = json.rsplit_once(':').unwrap();
    number.trim_end_matches('}').parse().unwrap()
}

pub(crate) fn link(host: &str, page: u32) -> String {
    format!(
        "http://{host}{ENDPOINT}?pageSize=2&$skiptoken={}",
        skip_token(SNAPSHOT, page)
    )
}

pub(crate) fn host(request: &str) -> String {
    let line = request.lines().find_map(|line| line.strip_prefix("host: "));
    line.unwrap().to_owned()
}

/// Three pages of the snapshot: two rows, two rows, one row.
pub(crate) fn three_pages(request: &str) -> Answer {
    let asked = page_asked(request);
    let next = |page| link(&host(request), page);
    match asked {
        0 => page(&["a", "b"], Some(&next(1))),
        1 => page(&["c", "d"], Some(&next(2))),
        _ => page(&["e"], None),
    }
}

fn lines(file: &Path) -> String {
    let mut text = String::new();
    let file = std::fs::File::open(file).unwrap();
    MultiGzDecoder::new(file).read_to_string(&mut text).unwrap();
    text
}

pub(crate) fn all_lines(fetched: &FetchedPages) -> String {
    fetched.pages.iter().map(|page| lines(&page.file)).collect()
}

pub(crate) fn ids(letters: &str) -> String {
    letters
        .chars()
        .map(|id| format!("{{\"deviceId\":\"{id}\"}}\n"))
        .collect()
}

pub(crate) fn pages_asked(server: &TestServer) -> Vec<u32> {
    let requests = server.requests();
    requests.iter().map(|request| page_asked(request)).collect()
}

/// The error, in which no secret may be.
pub(crate) fn error_of(fetched: Result<FetchedPages, PagesError>) -> PagesError {
    let error = fetched.unwrap_err();
    let text = format!("{error} {error:?}");
    for secret in [SECRET, "T0kenS1gnature", "eyJ"] {
        assert!(!text.contains(secret), "{text}");
    }
    error
}
