//! Device groups of very different sizes, each a range of slots.

use std::ops::Range;

const NAMES: &[&str] = &[
    "EMEA laptops",
    "Unassigned",
    "Americas laptops",
    "Servers",
    "APAC laptops",
    "Developers",
    "Domain controllers",
    "Linux fleet",
    "Kiosks",
    "Executives",
    "Lab",
    "Break glass",
];

/// A device group. The first is the largest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) slots: Range<u32>,
}

/// Cuts `0..devices` into groups whose sizes fall with the square of their rank. A group has at least one device,
/// unless there are fewer devices than groups: then the last groups have none and are left out.
pub(crate) fn groups(devices: u32, count: u32) -> Vec<Group> {
    let count = count.min(devices);
    let weight = |rank: u32| 1.0 / (f64::from(rank + 1) * f64::from(rank + 1));
    let total: f64 = (0..count).map(weight).sum();
    let spare = f64::from(devices - count);
    let mut sizes: Vec<u32> = (0..count)
        .map(|rank| 1 + (spare * weight(rank) / total) as u32)
        .collect();
    if let Some(largest) = sizes.first().copied() {
        sizes[0] = largest + devices - sizes.iter().sum::<u32>();
    }

    let mut start = 0;
    sizes
        .iter()
        .enumerate()
        .map(|(rank, size)| {
            let slots = start..start + size;
            start = slots.end;
            let unassigned = rank == 1 || count == 1;
            Group {
                id: if unassigned { 0 } else { 1_001 + rank as i64 },
                name: match NAMES.get(rank) {
                    _ if unassigned => "Unassigned".to_owned(),
                    Some(name) => (*name).to_owned(),
                    None => format!("Group {rank}"),
                },
                slots,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_differ_greatly_in_size_and_hold_every_slot_once() {
        let groups = groups(200_000, 12);
        assert_eq!(groups.len(), 12);
        assert!(groups[0].slots.len() > 100 * groups[11].slots.len());
        assert!(groups.iter().any(|group| group.id == 0));
        assert_eq!(groups[0].slots.start, 0);
        assert!(
            groups
                .windows(2)
                .all(|pair| pair[0].slots.end == pair[1].slots.start)
        );
        assert_eq!(groups[11].slots.end, 200_000);
    }

    #[test]
    fn fewer_devices_than_groups_leave_groups_out() {
        let sizes = |devices, count| -> Vec<usize> {
            groups(devices, count)
                .iter()
                .map(|group| group.slots.len())
                .collect()
        };
        assert_eq!(sizes(3, 12), [1, 1, 1]);
        assert_eq!(sizes(0, 12), [0; 0]);
        assert_eq!(sizes(7, 1), [7]);
    }
}
