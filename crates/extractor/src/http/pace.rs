//! The pace of a body: one that drips would hold its connection and its part of the run for ever. Does not wait itself.

use std::time::Duration;

use crate::limits::LEAST_BYTES_PER_SECOND;

/// How fast a body comes. The time in which it waits for this program is not counted.
pub(crate) struct Pace {
    window: Duration,
    waited: Duration,
    bytes: u64,
}

impl Pace {
    /// A pace that is judged whenever the body was waited for as long as `window`.
    pub(crate) fn new(window: Duration) -> Self {
        Self {
            window,
            waited: Duration::ZERO,
            bytes: 0,
        }
    }

    /// Counts what came after a wait. The bytes and the time of a window in which too few came.
    pub(crate) fn too_slow(&mut self, bytes: u64, waited: Duration) -> Option<(u64, Duration)> {
        self.bytes += bytes;
        self.waited += waited;
        if self.waited < self.window {
            return None;
        }
        let of_window = (self.bytes, self.waited);
        *self = Self::new(self.window);
        let least = of_window.1.as_secs_f64() * LEAST_BYTES_PER_SECOND as f64;
        ((of_window.0 as f64) < least).then_some(of_window)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_drips_is_too_slow_and_what_waits_for_us_is_not() {
        let (second, window) = (Duration::from_secs(1), Duration::from_secs(10));
        let mut pace = Pace::new(window);
        // A pause within a window, and a slow line, are no drip.
        assert_eq!(pace.too_slow(20 << 10, Duration::from_secs(9)), None);
        assert_eq!(pace.too_slow(1, second), None);
        for _ in 0..100 {
            assert_eq!(pace.too_slow(1_100, second), None);
        }
        // Chunks that are there at once count as fast, however seldom they are asked for.
        for _ in 0..100 {
            assert_eq!(pace.too_slow(1, Duration::ZERO), None);
        }
        let mut pace = Pace::new(window);
        for _ in 0..9 {
            assert_eq!(pace.too_slow(1, second), None);
        }
        assert_eq!(pace.too_slow(1, second), Some((10, window)));
    }
}
