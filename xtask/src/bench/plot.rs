//! A bar for each subject, as SVG that reads in a light and a dark page.

use std::fmt::Write as _;

const WIDTH: f64 = 760.0;
const NAMES: f64 = 240.0;
const BAR: f64 = 26.0;
const TOP: f64 = 40.0;

/// Bars on a logarithmic scale, shortest first.
pub(super) fn bars(title: &str, values: &[(&str, f64)]) -> String {
    let mut values = values.to_vec();
    values.sort_by(|a, b| a.1.total_cmp(&b.1));
    let smallest = values.first().map_or(1.0, |(_, value)| value / 2.0);
    let largest = values.last().map_or(1.0, |(_, value)| *value);
    let room = WIDTH - NAMES - 90.0;
    let length = |value: f64| room * (value / smallest).ln() / (largest / smallest).ln().max(f64::EPSILON);
    let height = TOP + BAR * values.len() as f64 + 10.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" font-family=\"sans-serif\" font-size=\"14\">\n\
         <style>text{{fill:#24292f}}.b{{fill:#8c959f}}.h{{fill:#0969da}}@media(prefers-color-scheme:dark){{text{{fill:#e6edf3}}.b{{fill:#6e7681}}.h{{fill:#4493f8}}}}</style>\n\
         <title>{}</title>\n<text x=\"0\" y=\"20\" font-weight=\"bold\">{}</text>\n",
        escaped(title),
        escaped(title)
    );
    for (index, (name, value)) in values.iter().enumerate() {
        let y = TOP + BAR * index as f64;
        let class = if name.starts_with("holdpoint") { "h" } else { "b" };
        let (text, end) = (y + 15.0, length(*value));
        writeln!(
            svg,
            "<text x=\"{:.0}\" y=\"{text:.0}\" text-anchor=\"end\">{}</text><rect class=\"{class}\" x=\"{NAMES}\" y=\"{y:.0}\" width=\"{end:.0}\" height=\"{:.0}\" rx=\"2\"/><text x=\"{:.0}\" y=\"{text:.0}\">{value:.2}</text>",
            NAMES - 10.0,
            escaped(name),
            BAR - 6.0,
            NAMES + end + 8.0
        )
        .unwrap_or_default();
    }
    svg.push_str("</svg>\n");
    svg
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::bars;

    #[test]
    fn each_value_has_a_bar_and_the_shortest_comes_first() {
        let svg = bars("a < b", &[("slow", 40.0), ("holdpoint run", 2.0)]);
        assert_eq!(svg.matches("<rect").count(), 2);
        assert!(svg.find("holdpoint run") < svg.find("slow"));
        assert!(svg.contains("a &lt; b"));
    }
}
