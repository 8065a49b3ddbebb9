//! A stand-in for the export API and its blob store: data generator, token endpoint, signed URLs, rate limits.
