//! The command line of `simulate` and `demo`.

use std::path::PathBuf;

use clap::Args;
use simulator::{Oddities, SnapshotOptions};

/// What the simulated snapshot looks like.
#[derive(Debug, Args)]
#[command(next_help_heading = "The simulated snapshot")]
pub(crate) struct SnapshotArguments {
    /// Number of device groups, of very different sizes
    #[arg(long, default_value_t = 12)]
    pub(crate) groups: u32,
    /// Number of blobs, roughly
    #[arg(long, default_value_t = 24)]
    pub(crate) blobs: u32,
    /// Which day: 0 is the first, each next one has the same devices changed a little
    #[arg(long, default_value_t = 0)]
    pub(crate) day: u32,
    /// Share of the devices that change from day to day
    #[arg(long, default_value_t = 0.05)]
    pub(crate) changed: f64,
    /// Seed of every random choice
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Something of every oddity: missing, null, new and misfitting attributes, bad lines, odd gzip files
    #[arg(long)]
    pub(crate) oddities: bool,
}

impl SnapshotArguments {
    /// As options of the simulator.
    pub(crate) fn options(&self, devices: u32) -> SnapshotOptions {
        let first_day = SnapshotOptions {
            devices,
            groups: self.groups,
            blobs: self.blobs,
            changed: self.changed,
            seed: self.seed,
            oddities: match self.oddities {
                true => Oddities::all(),
                false => Oddities::none(),
            },
            ..SnapshotOptions::default()
        };
        (0..self.day).fold(first_day, |day, _| day.next_day())
    }
}

/// `simulate`
#[derive(Debug, Args)]
pub(crate) struct SimulateArguments {
    /// Write the snapshot's blobs below this folder and end, in place of serving them
    #[arg(long, value_name = "DIR", conflicts_with_all = ["serve", "port", "url_lifetime", "no_rate_limit", "faults"])]
    pub(crate) write: Option<PathBuf>,
    /// Serve the newest snapshot of this folder, in place of a generated one
    #[arg(long, value_name = "DIR")]
    pub(crate) serve: Option<PathBuf>,
    /// Port on 127.0.0.1; 0 lets the system choose
    #[arg(long, default_value_t = 0)]
    pub(crate) port: u16,
    /// Life of the signed URLs whatever a call asks for, such as 90s
    #[arg(long, value_name = "TIME")]
    pub(crate) url_lifetime: Option<humantime::Duration>,
    /// Let any number of API calls through, in place of 5 a minute and 20 an hour
    #[arg(long)]
    pub(crate) no_rate_limit: bool,
    /// Fail as this script of faults (TOML) says
    #[arg(long, value_name = "FILE")]
    pub(crate) faults: Option<PathBuf>,
    /// Number of devices
    #[arg(long, default_value_t = 1_000)]
    pub(crate) devices: u32,
    /// Dataset to simulate, repeatable; `all` for every one
    #[arg(
        long = "dataset",
        value_name = "NAME",
        default_value = "info_gathering",
        conflicts_with = "serve"
    )]
    pub(crate) datasets: Vec<String>,
    #[command(flatten)]
    pub(crate) snapshot: SnapshotArguments,
}

impl SimulateArguments {
    /// A snapshot of each dataset asked for, of the same devices.
    pub(crate) fn snapshots(&self) -> Vec<SnapshotOptions> {
        let mut names: Vec<String> = Vec::new();
        for name in &self.datasets {
            match name.as_str() {
                "all" => names.extend(simulator::datasets().map(str::to_owned)),
                name => names.push(name.to_owned()),
            }
        }
        names.sort_unstable();
        names.dedup();
        let of = |dataset: String| SnapshotOptions {
            dataset,
            ..self.snapshot.options(self.devices)
        };
        names.into_iter().map(of).collect()
    }
}

/// `demo`
#[derive(Debug, Args)]
pub(crate) struct DemoArguments {
    /// Number of devices
    #[arg(long, default_value_t = 400)]
    pub(crate) devices: u32,
    /// Folder of the lake
    #[arg(long, value_name = "DIR", default_value = "demo-lake")]
    pub(crate) lake: PathBuf,
    #[command(flatten)]
    pub(crate) snapshot: SnapshotArguments,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_day_is_the_first_day_moved_on() {
        let snapshot = SnapshotArguments {
            groups: 3,
            blobs: 24,
            day: 2,
            changed: 0.05,
            seed: 1,
            oddities: true,
        };
        let options = snapshot.options(10);
        let first = SnapshotOptions::default();
        assert_eq!((options.devices, options.groups, options.day), (10, 3, 2));
        assert_eq!(
            (options.generated_time - first.generated_time).num_days(),
            2
        );
        assert_eq!(options.oddities, Oddities::all());
    }
}
