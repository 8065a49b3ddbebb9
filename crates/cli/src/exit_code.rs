//! Exit codes: a promise to schedulers.

use pipeline::ErrorKind;
use pipeline::report::Outcome;

/// How the program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExitCode {
    /// 0: done, or unchanged because the lake held the snapshot already.
    Done,
    /// 1: somebody has to mend something first; the lake is as before.
    Failed,
    /// 2: wrong use, or a pipeline file that is wrong. clap ends with the same code for wrong arguments.
    Usage,
    /// 3: the gate, or the lake's state, refused the snapshot; the lake is as before.
    Refused,
    /// 4: a commit was not finished: it stands, or no answer tells whether it does. The next run finishes it.
    Unfinished,
    /// 5: the same run can succeed later; the lake is as before.
    RetryLater,
    /// 101: a defect of this program. Rust ends with the same code after a panic.
    Defect,
}

/// The codes in words, for `--help`.
pub(crate) const HELP: &str = "\
Exit codes:
  0  done, or unchanged
  1  failed, and something has to be mended first; the lake is as before
  2  wrong use or configuration
  3  refused by the gate; the lake is as before
  4  the commit was not finished: it stands, or it is not known; the next run finishes it
  5  failed, and the same run can succeed later; the lake is as before
  101  a defect of this program";

impl ExitCode {
    /// The number.
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Refused => 3,
            Self::Unfinished => 4,
            Self::RetryLater => 5,
            Self::Defect => 101,
        }
    }

    /// The one of several that asks for most: a defect, then what has to be mended, refusals, what the next run finishes, and what
    /// passes by itself.
    pub(crate) fn worst(codes: &[Self]) -> Self {
        let order = [
            Self::Defect,
            Self::Failed,
            Self::Usage,
            Self::Refused,
            Self::Unfinished,
            Self::RetryLater,
        ];
        let worst = order.into_iter().find(|code| codes.contains(code));
        worst.unwrap_or(Self::Done)
    }

    /// The code of a run that ended without an error, or after it had done its work.
    pub(crate) fn of(outcome: Outcome, error: Option<ErrorKind>) -> Self {
        match (outcome, error) {
            (Outcome::Committed | Outcome::Unchanged, _) => Self::Done,
            (Outcome::Refused, _) => Self::Refused,
            (Outcome::Undecided, _) => Self::Unfinished,
            (Outcome::Failed, kind) => kind.map_or(Self::Failed, Self::from),
        }
    }
}

impl From<ErrorKind> for ExitCode {
    fn from(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::RetryLater => Self::RetryLater,
            ErrorKind::Mend => Self::Failed,
            ErrorKind::Configuration => Self::Usage,
            ErrorKind::Refused => Self::Refused,
            ErrorKind::Undecided => Self::Unfinished,
            ErrorKind::Defect => Self::Defect,
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
    fn help_and_readme_tell_every_code() {
        let readme = include_str!("../../../README.md");
        for code in [
            ExitCode::Done,
            ExitCode::Failed,
            ExitCode::Usage,
            ExitCode::Refused,
            ExitCode::Unfinished,
            ExitCode::RetryLater,
            ExitCode::Defect,
        ] {
            let number = code.number();
            assert!(HELP.contains(&format!("\n  {number}  ")), "{code:?}");
            assert!(readme.contains(&format!("\n| {number} | ")), "{code:?}");
        }
    }

    #[test]
    fn only_what_left_the_lake_as_wanted_is_zero() {
        let code = |outcome, kind| ExitCode::of(outcome, kind).number();
        assert_eq!(code(Outcome::Committed, None), 0);
        assert_eq!(code(Outcome::Unchanged, None), 0);
        assert_eq!(code(Outcome::Failed, Some(ErrorKind::Mend)), 1);
        assert_eq!(code(Outcome::Failed, Some(ErrorKind::RetryLater)), 5);
        assert_eq!(code(Outcome::Refused, Some(ErrorKind::Refused)), 3);
        assert_eq!(code(Outcome::Undecided, Some(ErrorKind::Undecided)), 4);
    }
}
