//! Exit codes: a promise to schedulers.

use pipeline::report::Outcome;

/// How the program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExitCode {
    /// 0: done, or unchanged because the lake held the snapshot already.
    Done,
    /// 1: something went wrong; the lake is as before.
    Failed,
    /// 2: wrong use, or a pipeline file that is wrong. clap ends with the same code for wrong arguments.
    Usage,
    /// 3: the gate, or the lake's state, refused the snapshot; the lake is as before.
    Refused,
    /// 4: a commit was not finished: it stands, or no answer tells whether it does. The next run finishes it.
    Unfinished,
}

/// The codes in words, for `--help`.
pub(crate) const HELP: &str = "\
Exit codes:
  0  done, or unchanged
  1  failed; the lake is as before
  2  wrong use or configuration
  3  refused by the gate; the lake is as before
  4  the commit was not finished: it stands, or it is not known; the next run finishes it";

impl ExitCode {
    /// The number.
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Refused => 3,
            Self::Unfinished => 4,
        }
    }
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Committed | Outcome::Unchanged => Self::Done,
            Outcome::Refused => Self::Refused,
            Outcome::Failed => Self::Failed,
            Outcome::Undecided => Self::Unfinished,
        }
    }
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        code.number().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_tells_every_code() {
        for code in [
            ExitCode::Done,
            ExitCode::Failed,
            ExitCode::Usage,
            ExitCode::Refused,
            ExitCode::Unfinished,
        ] {
            assert!(
                HELP.contains(&format!("\n  {}  ", code.number())),
                "{code:?}"
            );
        }
    }

    #[test]
    fn only_what_left_the_lake_as_wanted_is_zero() {
        let code = |outcome| ExitCode::from(outcome).number();
        assert_eq!(code(Outcome::Committed), 0);
        assert_eq!(code(Outcome::Unchanged), 0);
        assert_eq!(code(Outcome::Failed), 1);
        assert_eq!(code(Outcome::Refused), 3);
        assert_eq!(code(Outcome::Undecided), 4);
    }
}
