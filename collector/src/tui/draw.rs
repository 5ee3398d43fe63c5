//! One picture of the state, and nothing else:
//!
//! ```text
//! Flow capture  00:01:02 of 5m0s  1.23MB of 50MB  97 flows/s  1 agent
//! Lost: nothing
//! Time (UTC) Source                Destination           Proto  Bytes  Pkts Iface
//! ...
//! Ctrl-C ends the capture; files: output/flow/2024-03-06T161922Z.json, .db
//! ```

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Paragraph, Row, Table};

use super::app::App;
use super::columns::{COLUMNS, fit};
use crate::human;

/// Draws `app` on the whole frame.
pub(super) fn draw(frame: &mut Frame, app: &App) {
    let [header, lost, table, footer] =
        Layout::vertical([Constraint::Length(1), Constraint::Length(1), Constraint::Min(2), Constraint::Length(1)])
            .areas(frame.area());
    frame.render_widget(Paragraph::new(header_line(app)), header);
    frame.render_widget(Paragraph::new(lost_line(app)), lost);
    draw_table(frame, app, table);
    frame.render_widget(Paragraph::new(footer_line(app, usize::from(footer.width))), footer);
}

fn header_line(app: &App) -> Line<'static> {
    let seconds = app.elapsed.as_secs();
    let time = format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    let time_limit = app.max_time.map(|time| format!(" of {}", human::duration(time))).unwrap_or_default();
    let size = human::bytes(app.totals.json_bytes);
    let size_limit = app.max_bytes.map(|bytes| format!(" of {}", human::bytes(bytes))).unwrap_or_default();
    let agents = app.totals.agents;
    let plural = if agents == 1 { "" } else { "s" };
    let rate = human::count(app.rate.round() as u64);
    let bold = Style::new().add_modifier(Modifier::BOLD);
    Line::styled(
        format!("Flow capture  {time}{time_limit}  {size}{size_limit}  {rate} flows/s  {agents} agent{plural}"),
        bold,
    )
}

fn lost_line(app: &App) -> Line<'static> {
    let mut lost = app.totals.lost();
    if app.totals.refused_flows > 0 {
        lost.push(format!("refused {} flows", human::count(app.totals.refused_flows)));
    }
    if lost.is_empty() {
        return Line::raw("Lost: nothing");
    }
    let alarm = Style::new().add_modifier(Modifier::BOLD);
    Line::styled(format!("Lost: {}", lost.join(", ")), if app.colours { alarm.fg(Color::Red) } else { alarm })
}

fn draw_table(frame: &mut Frame, app: &App, area: Rect) {
    let spare = area.width.saturating_sub(COLUMNS.iter().map(|column| column.width + 1).sum::<u16>() - 1);
    let shares = COLUMNS.iter().map(|column| column.share).sum::<u16>().max(1);
    let widths = COLUMNS.each_ref().map(|column| column.width + spare * column.share / shares);
    let cells = |texts: [String; COLUMNS.len()]| {
        let aligned = (0..COLUMNS.len()).map(|index| {
            let line = Line::raw(fit(texts[index].clone(), widths[index].into()));
            if COLUMNS[index].right { line.right_aligned() } else { line }
        });
        Row::new(aligned.collect::<Vec<_>>())
    };
    let rows = usize::from(area.height.saturating_sub(1));
    let newest = app.flows.iter().skip(app.flows.len().saturating_sub(rows));
    let table = newest.map(|flow| cells(COLUMNS.each_ref().map(|column| (column.text)(flow))));
    let title = cells(COLUMNS.each_ref().map(|column| column.title.to_owned()));
    let reversed = Style::new().add_modifier(Modifier::REVERSED);
    let table = Table::new(table.collect::<Vec<_>>(), widths.map(Constraint::Length)).header(title.style(reversed));
    frame.render_widget(table, area);
}

fn footer_line(app: &App, width: usize) -> Line<'static> {
    let files = || format!("Ctrl-C ends the capture; files: {}", app.files);
    Line::raw(fit(app.log.clone().unwrap_or_else(files), width))
}
