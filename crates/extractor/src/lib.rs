//! The export API and its blobs: credentials, listing, rate budget, signed URLs, resumable downloads.
