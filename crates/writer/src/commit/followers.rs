//! What follows the write that decides, in this order, for a publish, an append and a rollback alike. The commit stands whatever fails
//! here, and the recovery of the next command does what is left.
//!
//! | follower | what needs it | if it fails |
//! |---|---|---|
//! | checkpoint of the log, if one is due | faster reads | the next commit writes it |
//! | manifest | readers of the pointer | the commit is unfinished |
//! | pointer | readers of the pointer | the commit is unfinished |
//! | deletion of what the snapshot no longer lists, of the intent | nothing | a warning |
//! | recovery of dead runs, deletion of retired files that are due | nothing | a warning |

use crate::commit::recover::{delete_unlisted, recover, roll_back};
use crate::commit::roll_forward::write_for_readers;
use crate::commit::traces;
use crate::error::Result;
use crate::store::failpoint;
use crate::table::current_snapshot::CurrentSnapshot;
use crate::table::intent::Intent;
use crate::table::state::{Table, TableState};

/// What became of what follows a commit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Followed {
    /// Why manifest or pointer could not be written, if so: readers of `latest.json` see the table as it was. The next run writes
    /// them.
    pub unfinished: Option<String>,
    /// What else could not be done, in words. No reader needs it, and the next run does it.
    pub warnings: Vec<String>,
}

/// A commit that the table has.
pub(crate) struct Decision<'a> {
    /// What the pointer is to say.
    pub(crate) current: CurrentSnapshot,
    /// What the commit wrote down beforehand; a rollback adds nothing, and writes none.
    pub(crate) intent: Option<&'a Intent>,
    /// Whether no other commit can be under way.
    pub(crate) is_alone: bool,
}

/// Rolls the followers forward. `state` is the one that the deciding write was made for.
pub(crate) async fn follow(
    table: &Table<'_>,
    decision: &Decision<'_>,
    state: TableState,
) -> Followed {
    let manifest = decision.intent.map(|intent| &intent.manifest);
    let state = match write_for_readers(table, &decision.current, manifest, state).await {
        Ok(state) => state,
        Err(error) => {
            return Followed {
                unfinished: Some(error.to_string()),
                warnings: Vec::new(),
            };
        }
    };
    let mut warnings = Vec::new();
    match clean_up(table, decision, state).await {
        Ok(not_deleted) if not_deleted.is_empty() => {}
        Ok(not_deleted) => warnings.push(format!(
            "{} files of replaced snapshots could not be deleted",
            not_deleted.len()
        )),
        Err(error) => warnings.push(format!("what is no longer needed was not deleted: {error}")),
    }
    Followed {
        unfinished: None,
        warnings,
    }
}

/// Deletes what nobody needs, then does the same for others. Gives the files that could not be deleted.
async fn clean_up(
    table: &Table<'_>,
    decision: &Decision<'_>,
    state: TableState,
) -> Result<Vec<String>> {
    let manifest = decision.intent.map(|intent| &intent.manifest);
    if let Some(intent) = decision.intent {
        delete_unlisted(table, &state, &intent.manifest).await?;
        match intent.appends_to {
            // What it replaced is no part of the table.
            Some(_) => roll_back(table, intent, &state).await?,
            None => intent.delete(table.lake).await?,
        }
        failpoint::reached("intent-deleted");
    }
    let state = table.read_again(state, manifest).await?;
    traces::delete_old_reports(table, &state).await?;
    recover(table, state, decision.is_alone).await
}
