// Why this exists: a finished run is shown to people who have neither this program nor the run: a folder of pages that opens from a disk.
using System.Globalization;
using System.Net;
using System.Text;
using CoCLR.Core;
using CoCLR.Core.Events;
using CoCLR.Core.Planning;
using CoCLR.Core.Results;
using CoCLR.Engine.Evaluation;
using CoCLR.Runs;

namespace CoCLR.Engine.Exports;

/// <summary>Writes a run as static pages: results, curves, galleries with playing clips.</summary>
public static class FolderReport
{
    private const int MostQueries = 60;

    private const string Style = """
        :root{color-scheme:light dark;--line:#8886}body{font:15px/1.5 system-ui,sans-serif;margin:0 auto;max-width:1200px;padding:1.5rem}
        table{border-collapse:collapse;margin:1rem 0;display:block;overflow-x:auto}td,th{border-bottom:1px solid var(--line);padding:.3rem .7rem;text-align:right}
        td:first-child,th:first-child,td:nth-child(2),th:nth-child(2){text-align:left}.charts{display:grid;gap:1rem;grid-template-columns:repeat(auto-fill,minmax(320px,1fr))}
        svg{width:100%;height:auto}svg text{font-size:11px;fill:currentColor}.grid{stroke:var(--line)}.legend span{margin-right:1em}.legend span::before{content:"";
        display:inline-block;width:1em;height:.2em;background:var(--c);margin-right:.4em;vertical-align:middle}.row{display:flex;gap:.6rem;overflow-x:auto;border-top:1px solid
        var(--line);padding:.8rem 0}figure{margin:0;flex:0 0 140px;font-size:12px;overflow-wrap:anywhere}video{width:140px;height:140px;object-fit:cover;background:#8883;
        border:3px solid transparent}.hit video{border-color:#009e73}.miss video{border-color:#d55e00}.careful{border-left:4px solid #d55e00;padding-left:.8rem}
        """;

    private const string Play = """
        const seen=new IntersectionObserver(es=>es.forEach(e=>e.isIntersecting?e.target.play().catch(()=>{}):e.target.pause()));
        document.querySelectorAll("video").forEach(v=>seen.observe(v));
        """;

    /// <summary>Writes the pages.</summary>
    /// <param name="folder">A run folder with a report.</param>
    /// <param name="target">Where to; made when missing.</param>
    /// <returns>The page to open.</returns>
    /// <exception cref="UserErrorException">The run has no report yet (66).</exception>
    public static string Write(RunFolder folder, string target)
    {
        ArgumentNullException.ThrowIfNull(folder);
        if (!File.Exists(folder.ReportFile))
        {
            throw new UserErrorException(
                $"{folder.Root} has no {RunFolder.ReportName}: run it to its end first (coclr run).", ExitCodes.MissingInput);
        }

        StagePlan plan = RunFolder.ReadPlan(folder.PlanFile);
        RunReport report = folder.ReadReport();
        (string Page, NeighbourTable Table)[] galleries =
        [
            .. plan.Stages.Where(s => File.Exists(Path.Combine(folder.Stage(s.Name), EvaluationArtifacts.Neighbours)))
                .Select(
                    s => (
                        $"gallery-{s.Name}.html",
                        EvaluationArtifacts.Read<NeighbourTable>(folder.Stage(s.Name), EvaluationArtifacts.Neighbours))),
        ];
        Dictionary<(string Id, string View), Preview> previews =
            CopyPreviews(folder, plan, galleries.SelectMany(g => EvaluationArtifacts.VideosOf(Shown(g.Table))), target);
        foreach ((string page, NeighbourTable table) in galleries)
        {
            WholeFile.WriteText(Path.Combine(target, page), Page($"{report.Name}: {table.View}", Gallery(table, previews)));
        }

        string index = Path.Combine(target, "index.html");
        WholeFile.WriteText(index, Page(report.Name, Overview(plan, report, galleries) + Curves(RunPoints.Newest(RunPoints.Read(folder)))));
        return index;
    }

    private static NeighbourTable Shown(NeighbourTable table) => table with { Queries = [.. table.Queries.Take(MostQueries)] };

    private static string Page(string title, string body) =>
        $"<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" "
            + $"content=\"width=device-width\"><title>{Text(title)}</title><style>{Style}</style>"
        + $"<h1>{Text(title)}</h1>{body}<script>{Play}</script></html>\n";

    private static string Overview(StagePlan plan, RunReport report, IReadOnlyList<(string Page, NeighbourTable Table)> galleries)
    {
        var text = new StringBuilder();
        foreach (string warning in report.Warnings)
        {
            text.Append(CultureInfo.InvariantCulture, $"<p class=\"careful\">Careful: {Text(warning)}</p>");
        }

        ReportTable table = ReportWriter.Table(report);
        text.Append("<table><tr>").AppendJoin("", table.Headers.Select(h => $"<th scope=\"col\">{Text(h)}</th>")).Append("</tr>");
        foreach (string[] row in table.Rows)
        {
            text.Append("<tr>").AppendJoin("", row.Select(cell => $"<td>{Text(cell)}</td>")).Append("</tr>");
        }

        text.Append("</table>")
            .AppendJoin("", table.Notes.Except(report.Warnings.Select(w => $"Careful: {w}")).Select(note => $"<p>{Text(note)}</p>"));
        text.AppendJoin("", galleries.Select(g => $"<p><a href=\"{g.Page}\">What {Text(g.Table.View)} finds alike</a></p>"));
        (string Name, string? Value)[] facts =
        [
            ("run", plan.Run), ("data set", report.DataSet), ("split", report.Split),
            ("classes", report.Classes?.ToString(CultureInfo.InvariantCulture)),
            ("training videos", report.TrainVideos?.ToString(CultureInfo.InvariantCulture)),
            ("test videos", report.TestVideos?.ToString(CultureInfo.InvariantCulture)),
            ("seed", report.Seed.ToString(CultureInfo.InvariantCulture)), ("device", report.Device),
            ("wall time", ReportWriter.Duration(report.WallSeconds)),
            ("finished", report.FinishedAt?.UtcDateTime.ToString("u", CultureInfo.InvariantCulture)), ("manifest", plan.SpecHash),
        ];
        text.Append("<h2>Conditions</h2><table>");
        text.AppendJoin("", facts.Where(f => f.Value != null).Select(f => $"<tr><td>{f.Name}</td><td>{Text(f.Value!)}</td></tr>"));
        return text.Append("</table>").ToString();
    }

    private static string Curves(IEnumerable<MetricPoint> points)
    {
        string[] first = [MetricNames.Loss, MetricNames.Top1, MetricNames.MiningPrecision];
        var charts = points.GroupBy(p => p.Name)
            .OrderBy(g => Array.IndexOf(first, g.Key) is >= 0 and var at ? at : first.Length).ThenBy(g => g.Key, StringComparer.Ordinal)
            .Select(
                metric => (
                    metric.Key,
                    Svg: SvgChart.Draw(
                        metric.Key,
                        [
                            .. metric.GroupBy(p => p.Stage)
                                .Select(s => new ChartLine(s.Key, [.. s.Select(p => ((double)p.Step, p.Value))]))])))
            .Where(chart => chart.Svg != null)
            .Select(chart => $"<section><h3>{Text(chart.Key)}</h3>{chart.Svg}</section>").ToList();
        return charts.Count == 0 ? "" : $"<h2>Curves, by step</h2><div class=\"charts\">{string.Concat(charts)}</div>";
    }

    private static string Gallery(NeighbourTable table, Dictionary<(string Id, string View), Preview> previews)
    {
        string view = table.View == "flow" ? "flow" : "rgb";
        var text = new StringBuilder("<p><a href=\"index.html\">Back to the results</a>. First the query, then what was found, the nearest "
            + "first; green: its class.</p>");
        foreach (QueryNeighbours query in Shown(table).Queries)
        {
            text.Append("<div class=\"row\">").Append(Figure(query.Id, query.Class, "", "query"));
            text.AppendJoin(
                "",
                query.Neighbours.Select(
                    n => Figure(
                        n.Id,
                        n.Class,
                        query.Class == null ? "" : n.Class == query.Class ? "hit" : "miss",
                        n.Similarity.ToString("0.00", CultureInfo.InvariantCulture))));
            text.Append("</div>");
        }

        return text.ToString();

        string Figure(string id, string? name, string kind, string note)
        {
            string media = previews.TryGetValue((id, view), out Preview? preview)
                ? $"<video muted loop playsinline preload=\"none\" src=\"{Text(preview.Video)}\" poster=\"{Text(preview.Poster)}\" "
                    + $"aria-label=\"{Text(id)}\"></video>"
                : "";
            return $"<figure class=\"{kind}\">{media}<figcaption>{Text(name ?? "")} {Text(note)}<br>{Text(id)}</figcaption></figure>";
        }
    }

    /// <summary>Copies the clips that are shown, under their own names.</summary>
    private static Dictionary<(string Id, string View), Preview> CopyPreviews(
        RunFolder folder, StagePlan plan, IEnumerable<string> ids, string target)
    {
        HashSet<string> shown = [.. ids];
        var previews = new Dictionary<(string, string), Preview>();
        string[] tables = [.. plan.Stages.Select(s => Path.Combine(folder.Stage(s.Name), EvaluationArtifacts.Previews)).Where(File.Exists)];
        foreach (Preview preview in tables.SelectMany(t => ResultJson.Read<PreviewTable>(File.ReadAllText(t), t).Previews).Where(p => shown.Contains(p.Id)))
        {
            string[] files = [preview.Video, preview.Poster];
            if (files.All(file => File.Exists(Path.Combine(folder.Root, file))))
            {
                previews[(preview.Id, preview.View)] = preview;
                foreach (string file in files.Where(file => !File.Exists(Path.Combine(target, file))))
                {
                    Directory.CreateDirectory(Path.GetDirectoryName(Path.Combine(target, file))!);
                    WholeFile.Link(Path.Combine(folder.Root, file), Path.Combine(target, file));
                }
            }
        }

        return previews;
    }

    private static string Text(string text) => WebUtility.HtmlEncode(text);
}
