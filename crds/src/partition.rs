//! The AWS partitions that rolectl can call, with their regions and endpoints.
//!
//! A partition is a set of regions with its own IAM, accounts and credentials:
//! <https://docs.aws.amazon.com/whitepapers/latest/aws-fault-isolation-boundaries/partitions.html>.

use std::fmt;

/// One AWS partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Name of the partition, the second part of an ARN.
    pub name: &'static str,
    /// The region for which requests to IAM are signed, and requests to STS if no region is configured.
    pub region: &'static str,
    /// The prefix of the names of its regions. Empty for `aws`, whose regions have many prefixes.
    pub region_prefix: &'static str,
    /// Host of the IAM endpoint.
    pub iam_host: &'static str,
    /// DNS suffix of its services. The STS endpoint is `sts.REGION.SUFFIX`.
    pub dns_suffix: &'static str,
}

/// Every partition that rolectl can call. A test compares them with the endpoint rules of the SDK.
pub const PARTITIONS: &[Partition] = &[
    Partition {
        name: "aws",
        region: "us-east-1",
        region_prefix: "",
        iam_host: "iam.amazonaws.com",
        dns_suffix: "amazonaws.com",
    },
    Partition {
        name: "aws-cn",
        region: "cn-north-1",
        region_prefix: "cn-",
        iam_host: "iam.cn-north-1.amazonaws.com.cn",
        dns_suffix: "amazonaws.com.cn",
    },
    Partition {
        name: "aws-us-gov",
        region: "us-gov-west-1",
        region_prefix: "us-gov-",
        iam_host: "iam.us-gov.amazonaws.com",
        dns_suffix: "amazonaws.com",
    },
    Partition {
        name: "aws-eusc",
        region: "eusc-de-east-1",
        region_prefix: "eusc-de-",
        iam_host: "iam.eusc-de-east-1.amazonaws.eu",
        dns_suffix: "amazonaws.eu",
    },
    Partition {
        name: "aws-iso",
        region: "us-iso-east-1",
        region_prefix: "us-iso-",
        iam_host: "iam.us-iso-east-1.c2s.ic.gov",
        dns_suffix: "c2s.ic.gov",
    },
    Partition {
        name: "aws-iso-b",
        region: "us-isob-east-1",
        region_prefix: "us-isob-",
        iam_host: "iam.us-isob-east-1.sc2s.sgov.gov",
        dns_suffix: "sc2s.sgov.gov",
    },
    Partition {
        name: "aws-iso-e",
        region: "eu-isoe-west-1",
        region_prefix: "eu-isoe-",
        iam_host: "iam.eu-isoe-west-1.cloud.adc-e.uk",
        dns_suffix: "cloud.adc-e.uk",
    },
    Partition {
        name: "aws-iso-f",
        region: "us-isof-south-1",
        region_prefix: "us-isof-",
        iam_host: "iam.us-isof-south-1.csp.hci.ic.gov",
        dns_suffix: "csp.hci.ic.gov",
    },
];

/// Pattern of `AwsAccount.spec.partition`: the names in [`PARTITIONS`].
pub(crate) const PARTITION_PATTERN: &str = "^aws(-cn|-us-gov|-eusc|-iso|-iso-b|-iso-e|-iso-f)?$";
/// Pattern of a region's name.
pub(crate) const REGION_PATTERN: &str = "^[a-z]{2,4}(-[a-z]+){1,3}-[0-9]{1,2}$";

/// The error for a partition or a region for which there is no endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PartitionError {
    /// [`PARTITIONS`] has no such partition.
    Unknown {
        /// The unknown name.
        partition: String,
    },
    /// The region is in no partition of [`PARTITIONS`].
    UnknownRegion {
        /// The region.
        region: String,
    },
    /// The region is in another partition than the configured one.
    OtherPartition {
        /// The region.
        region: String,
        /// The configured partition.
        partition: &'static str,
    },
}

impl fmt::Display for PartitionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { partition } => {
                let names: Vec<&str> = PARTITIONS.iter().map(|p| p.name).collect();
                write!(
                    f,
                    "unknown AWS partition {partition:?}: use one of {}",
                    names.join(", ")
                )
            }
            Self::UnknownRegion { region } => {
                write!(
                    f,
                    "unknown AWS region {region:?}: it is in none of the partitions that rolectl supports"
                )
            }
            Self::OtherPartition { region, partition } => {
                write!(
                    f,
                    "region {region} is not in partition {partition}: correct the region or the partition"
                )
            }
        }
    }
}

impl std::error::Error for PartitionError {}

impl Partition {
    /// Returns the partition of this name.
    pub fn named(name: &str) -> Result<&'static Self, PartitionError> {
        PARTITIONS
            .iter()
            .find(|partition| partition.name == name)
            .ok_or_else(|| PartitionError::Unknown {
                partition: shown(name),
            })
    }

    /// Returns the partition of a region.
    pub fn of_region(region: &str) -> Result<&'static Self, PartitionError> {
        PARTITIONS
            .iter()
            .find(|partition| partition.has(region))
            .ok_or_else(|| PartitionError::UnknownRegion {
                region: shown(region),
            })
    }

    /// Checks that a configured region is in this partition.
    pub fn check(&'static self, region: &str) -> Result<(), PartitionError> {
        if self.has(region) {
            return Ok(());
        }
        Err(PartitionError::OtherPartition {
            region: shown(region),
            partition: self.name,
        })
    }

    /// Returns true if the region is in this partition.
    pub fn has(&self, region: &str) -> bool {
        let parts: Vec<&str> = region.split('-').collect();
        let is_number =
            |part: &&str| !part.is_empty() && part.len() <= 2 && part.bytes().all(|b| b.is_ascii_digit());
        let is_word = |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase());
        let Some((number, words)) = parts.split_last() else {
            return false;
        };
        if !is_number(number) || !words.iter().all(is_word) || region.len() > 32 {
            return false;
        }
        if self.region_prefix.is_empty() {
            // `eu-west-1`: two letters and one word. The other partitions have longer names, except China's.
            let [area, _] = words else { return false };
            return area.len() == 2 && *area != "cn";
        }
        region
            .strip_prefix(self.region_prefix)
            .is_some_and(|rest| rest.split('-').count() == 2)
    }
}

/// Returns a text from outside in a bounded length, for a message.
fn shown(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_region_is_in_exactly_one_partition() {
        for (region, name) in [
            ("us-east-1", Some("aws")),
            ("eu-central-2", Some("aws")),
            ("mx-central-1", Some("aws")),
            ("ap-southeast-7", Some("aws")),
            ("cn-north-1", Some("aws-cn")),
            ("cn-northwest-1", Some("aws-cn")),
            ("us-gov-east-1", Some("aws-us-gov")),
            ("eusc-de-east-1", Some("aws-eusc")),
            ("us-iso-west-1", Some("aws-iso")),
            ("us-isob-east-1", Some("aws-iso-b")),
            ("eu-isoe-west-1", Some("aws-iso-e")),
            ("us-isof-south-1", Some("aws-iso-f")),
            ("us-isog-east-1", None),
            ("eusc-fr-west-1", None),
            ("us-east", None),
            ("us-east-1a", None),
            ("us-east-1.evil.example", None),
            ("x", None),
            ("", None),
        ] {
            let found: Vec<&str> = PARTITIONS
                .iter()
                .filter(|p| p.has(region))
                .map(|p| p.name)
                .collect();
            assert_eq!(found, Vec::from_iter(name), "{region}");
        }
        for partition in PARTITIONS {
            assert!(partition.check(partition.region).is_ok());
            assert_eq!(Partition::named(partition.name), Ok(partition));
        }
    }

    #[test]
    fn an_unknown_partition_is_an_error_that_lists_the_right_ones() {
        for name in ["", "aws-", "AWS", "aws-iso-z", "aws-cn-", &"x".repeat(1000)] {
            let error = Partition::named(name).unwrap_err().to_string();
            assert!(error.contains("aws-us-gov") && error.len() < 300, "{error}");
        }
        let cn = Partition::named("aws-cn").unwrap();
        let error = cn.check("eu-west-1").unwrap_err().to_string();
        assert!(error.contains("eu-west-1") && error.contains("aws-cn"), "{error}");
    }
}
