//! Which pages are asked for, and how much of them at most. Makes no request.

use dataset::OrgId;

/// What to ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PagesRequest {
    /// Path of the endpoint, from the base URL.
    pub endpoint: String,
    /// The application permission that it needs, for the words of a refusal.
    pub permission: String,
    /// Names and values of the first page's query, such as `pageSize` and `sinceTime`, not encoded. Holds no secret.
    pub query: Vec<(String, String)>,
    /// Name of the export in blob paths: letters, digits, `-` and `_`.
    pub export_name: String,
    /// The organisation in blob paths.
    pub org_id: Option<OrgId>,
    /// Whether 404 for the first page means that there are no rows, as `/api/machines` answers for a tenant without devices.
    pub not_found_is_empty: bool,
    /// How much is fetched at most.
    pub limits: PageLimits,
}

/// How much is fetched at most; more is an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageLimits {
    /// Bytes of one page, as JSON.
    pub page_bytes: u64,
    /// Bytes of all pages together, as JSON. Checked before each page.
    pub total_bytes: u64,
    /// Pages.
    pub pages: u32,
}

impl Default for PageLimits {
    /// Twice the largest page (200,000 rows of 2.5 KB), and 10,000 pages: more take hours of the service's call limits.
    fn default() -> Self {
        Self {
            page_bytes: 1 << 30,
            total_bytes: 256 << 30,
            pages: 10_000,
        }
    }
}
