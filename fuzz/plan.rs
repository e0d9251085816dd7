//! The plan's values as the engine has them, which reads them from Python; for the targets that use the engine's modules.

#[derive(Clone, Debug, Default)]
pub struct StaticPlan {
    pub maps: Vec<MapPlan>,
    pub docroot: bool,
    pub safe: Vec<String>,
    pub index: Vec<String>,
    pub skipped_suffixes: Vec<String>,
    pub compressed_all: bool,
    pub compressed_patterns: Vec<String>,
    pub compressed_prefixes: Vec<String>,
    pub compressed_suffixes: Vec<String>,
    pub expires: Vec<ExpiryPlan>,
    pub serve_mode: String,
    pub mime_types: String,
}

#[derive(Clone, Debug, Default)]
pub struct MapPlan {
    pub prefix: String,
    pub path: String,
    pub keeps_prefix: bool,
}

#[derive(Clone, Debug, Default)]
pub struct ExpiryPlan {
    pub subject: String,
    pub pattern: String,
    pub seconds: u64,
    pub from_change: bool,
}

pub type TemplatePlan = Vec<(String, String)>;

#[derive(Clone, Debug, Default)]
pub struct RulePlan {
    pub place: String,
    pub condition: String,
    pub is_negated: bool,
    pub operands: Vec<TemplatePlan>,
    pub constant: String,
    pub action: String,
    pub arguments: Vec<TemplatePlan>,
    pub target: usize,
}

#[derive(Clone, Debug, Default)]
pub struct RoutesPlan {
    pub request: Vec<RulePlan>,
    pub response: Vec<RulePlan>,
    pub last: Vec<RulePlan>,
}
