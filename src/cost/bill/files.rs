//! A bill as CSV files.

use crate::analysis::columns::nested::csv_files;

use super::{
    Bill, BreakEvenRow, CapacityRow, CostComparisonRow, MeasurementRow, ModelRow, MonthRow, PhaseRow, RequestRow,
    RoutingRow, ShapeRow, SloRow, TcoRow, ThousandRow, TierRow, WarmRow,
};

csv_files! {
    Bill {
        phases: PhaseRow => "cost_table_all_tiers.csv",
        measurements: MeasurementRow => "cost_per_measurement.csv",
        comparisons: CostComparisonRow => "cost_comparison.csv",
        tiers: TierRow => "tier_savings.csv",
        requests: RequestRow => "request_time.csv",
        thousands: ThousandRow => "cost_per_request.csv",
        shapes: ShapeRow => "cost_per_shape.csv",
        routing: RoutingRow => "routing.csv",
        slos: SloRow => "slos.csv",
        capacity: CapacityRow => "capacity.csv",
        months: MonthRow => "cost_per_month.csv",
        break_even: BreakEvenRow => "break_even.csv",
        tco: TcoRow => "tco.csv",
        warm_pools: WarmRow => "warm_pools.csv",
        models: ModelRow => "models.csv",
    }
}
