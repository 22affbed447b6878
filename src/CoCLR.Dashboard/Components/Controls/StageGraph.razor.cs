// Why this exists: lays the stages of a plan out.
using System.Globalization;
using CoCLR.Core.Planning;
using CoCLR.Dashboard.Formatting;
using CoCLR.Dashboard.Storage;
using Microsoft.AspNetCore.Components;

namespace CoCLR.Dashboard.Components.Controls;

/// <summary>The plan as a picture.</summary>
public sealed partial class StageGraph
{
    private const int NodeWidth = 136;
    private const int NodeHeight = 44;
    private const int GapX = 44;
    private const int GapY = 14;
    private readonly string _id = Guid.NewGuid().ToString("N")[..6];
    private List<Node> _nodes = [];
    private List<Edge> _edges = [];
    private int _width = 400;
    private int _height = 100;
    private string? _laidOut;
    private StagePlan? _plan;

    /// <summary>A run; or only a plan.</summary>
    [Parameter]
    public RunInfo? Info { get; set; }

    /// <summary>A plan that is not run yet.</summary>
    [Parameter]
    public StagePlan? Plan { get; set; }

    private sealed record Node(string Name, int X, int Y, StageInfo? Stage);

    private sealed record Edge(string Kind, string Path);

    /// <inheritdoc/>
    protected override void OnParametersSet()
    {
        string key = Plan?.SpecHash + Info?.PlanJson + Info?.Stages.Length;
        if (_laidOut != key)
        {
            _laidOut = key;
            _plan = Plan ?? (Info is null ? null : ManifestText.Plan(Info));
            LayOut();
        }

        if (Info != null)
        {
            _nodes = [.. _nodes.Select(n => n with { Stage = Info.Stage(n.Name) })];
        }
    }

    /// <summary>Columns by longest way from the start; rows: RGB above, what concerns both in the middle, flow below.</summary>
    private void LayOut()
    {
        IReadOnlyList<Stage> stages = _plan?.Stages
            ?? [.. (Info?.Stages ?? []).Select(s => new Stage { Name = s.Name, Kind = StageKind.Decode })];
        var column = new Dictionary<string, int>();
        foreach (Stage stage in stages)
        {
            column[stage.Name] = stage.DependsOn.Select(d => column.GetValueOrDefault(d) + 1)
                .DefaultIfEmpty(_plan is null ? column.Count : 0).Max();
        }

        var taken = new Dictionary<(int Column, int Lane), int>();
        var place = new Dictionary<string, (int Column, int Lane, int Row)>();
        foreach (Stage stage in stages)
        {
            int lane = stage.View switch { CoCLR.Core.Manifests.View.Rgb => 0, CoCLR.Core.Manifests.View.Flow => 2, _ => 1 };
            int row = taken.GetValueOrDefault((column[stage.Name], lane));
            taken[(column[stage.Name], lane)] = row + 1;
            place[stage.Name] = (column[stage.Name], lane, row);
        }

        int[] rows = [.. Enumerable.Range(0, 3)
            .Select(l => taken.Where(t => t.Key.Lane == l).Select(t => t.Value).DefaultIfEmpty(0).Max())];
        bool onlyMiddle = rows[0] == 0 && rows[2] == 0;
        // The middle lane shares rows with the others where they leave it room, so that the picture stays low.
        int laneHeight = NodeHeight + GapY;
        int top = rows[0] * laneHeight;
        int middle = onlyMiddle ? 0 : top > 0 ? top - (laneHeight / 2) + (rows[0] > 0 && rows[2] > 0 ? 0 : laneHeight / 2) : 0;
        int bottom = top;
        _nodes = [];
        foreach (Stage stage in stages)
        {
            (int c, int lane, int row) = place[stage.Name];
            int y = lane switch { 0 => row * laneHeight, 2 => bottom + (row * laneHeight), _ => middle + (row * laneHeight) };
            _nodes.Add(new Node(stage.Name, 6 + (c * (NodeWidth + GapX)), 6 + y, null));
        }

        _width = _nodes.Count == 0 ? 400 : _nodes.Max(n => n.X) + NodeWidth + 12;
        _height = _nodes.Count == 0 ? 60 : _nodes.Max(n => n.Y) + NodeHeight + 12;
        var at = _nodes.ToDictionary(n => n.Name);
        _edges = [];
        foreach (Stage stage in stages)
        {
            foreach (string from in stage.DependsOn.Where(at.ContainsKey))
            {
                string kind = from == stage.MineWith ? "mines" : from == stage.InitializeFrom || from == stage.Evaluates ? "feeds" : "";
                _edges.Add(new Edge(kind, Path(at[from], at[stage.Name])));
            }
        }

        _edges = [.. _edges.OrderBy(e => e.Kind.Length)];
    }

    private static string Path(Node from, Node to)
    {
        int x1 = from.X + NodeWidth, y1 = from.Y + (NodeHeight / 2), x2 = to.X, y2 = to.Y + (NodeHeight / 2);
        int bend = Math.Max(20, (x2 - x1) / 2);
        return string.Create(CultureInfo.InvariantCulture, $"M{x1} {y1}C{x1 + bend} {y1} {x2 - bend} {y2} {x2 - 1} {y2}");
    }

    private static string Sign(string state) =>
        state switch { "Done" => "✓", "Failed" => "✕", "Running" => "●", "Stopped" => "❚❚", _ => "" };

    private static string Short(Node node, string state) => node.Stage switch
    {
        { Phase: StagePhase.Running, Epochs: > 0, Epoch: { } epoch } s => $"epoch {epoch:0.0} / {s.Epochs}",
        { Phase: StagePhase.Running, Total: > 0 } s => $"{s.Doing} {100.0 * s.Done / s.Total:0} %",
        { Phase: StagePhase.Running } s => s.Doing ?? "starting",
        { Phase: StagePhase.Succeeded } s => Text.Duration(s.WallSeconds),
        { Phase: StagePhase.Failed } s => $"attempt {s.Attempt}",
        { Epochs: > 0 } s => $"{s.Epochs} epochs",
        _ => state.ToLowerInvariant(),
    };

    private static string Detail(Node node) => node.Stage is { Phase: StagePhase.Running } s ? $", {s.Fraction * 100:0} percent" : "";
}
