// Why this exists: keeps form and YAML in step: each edit of the form is set into the manifest, each edit of the YAML is read with the
// checks of the command line.
using System.Text.Json.Nodes;
using CoCLR.Core;
using CoCLR.Core.Manifests;
using CoCLR.Core.Manifests.Schema;
using CoCLR.Core.Planning;
using CoCLR.Dashboard.Authentication;
using CoCLR.Dashboard.Formatting;
using CoCLR.Dashboard.Hosting;
using Microsoft.AspNetCore.Components;
using Microsoft.AspNetCore.Components.Authorization;
using Microsoft.JSInterop;
using MudBlazor;

namespace CoCLR.Dashboard.Components.Pages;

/// <summary>A field of the form.</summary>
internal sealed record FormField(string Path, string Label, string Kind, string Description, string[] Options, string? Default)
{
    /// <summary>Its label in words: <c>optimizer.learningRate</c> is read as "Optimizer: learning rate".</summary>
    public string Words { get; } = InWords(Label);

    private static string InWords(string label)
    {
        var words = new System.Text.StringBuilder();
        foreach (char c in label.Replace("source.", "", StringComparison.Ordinal).Replace(".", ": ", StringComparison.Ordinal))
        {
            // A capital begins a word, but not within an abbreviation.
            words.Append(char.IsUpper(c) && words.Length > 0 && char.IsLower(words[^1]) ? " " + char.ToLowerInvariant(c) : c.ToString());
        }

        return words.Length == 0 ? "" : char.ToUpperInvariant(words[0]) + words.ToString(1, words.Length - 1);
    }
}

/// <summary>A part of the form.</summary>
internal sealed record FormSection(string Title, string Heading, IReadOnlyList<FormField> Fields);

/// <summary>The form.</summary>
public sealed partial class NewPage : IAsyncDisposable
{
    private const string PathField = "dataset.source.path";
    private static readonly (string Key, string Name)[] AnySource = [("path", "A folder of videos"), ("synthetic", "Synthetic actions, made on the spot")];
    private static readonly TimeSpan ScanLimit = TimeSpan.FromMinutes(5);
    private static readonly string[] ClipFields = ["frames", "size"];
    private static readonly IReadOnlyList<FormSection> AllSections = MakeSections();
    private readonly IReadOnlyList<FormSection> _sections = AllSections;
    private string _yaml = "";
    private string _name = "";
    private string _template = "";
    private JsonObject _spec = [];
    private IReadOnlyList<ManifestProblem> _problems = [];
    private IReadOnlyList<ManifestProblem> _warnings = [];
    private StagePlan? _plan;
    private bool _dry;
    private int _unshown;
    private string _estimate = "";
    private string? _shownFor;
    private IReadOnlyList<string> _spaces = [];
    private string _space = "default";
    private bool _scanning;
    private string _scanned = "";
    private ElementReference _editor;
    private IJSObjectReference? _module;

    private string Verdict => (_problems.Count == 0 ? "Valid." : $"{_problems.Count} {(_problems.Count == 1 ? "problem" : "problems")}.")
        + (_unshown > 0 ? $" {_unshown} fields that the form does not show stay as the YAML says." : "");

    [Inject]
    private IJSRuntime Script { get; set; } = null!;

    /// <summary>Which source of videos the manifest has.</summary>
    private string Source => (_spec["dataset"]?["source"] as JsonObject)?.Select(p => p.Key).FirstOrDefault() ?? "path";

    private IEnumerable<(string Key, string Name)> Sources => AnySource.Any(s => s.Key == Source) ? AnySource : [.. AnySource, (Source, Source)];

    private ClusterHost? InCluster => Services.GetService<ClusterHost>();

    [CascadingParameter]
    private Task<AuthenticationState>? UserTask { get; set; }

    [SupplyParameterFromQuery(Name = "template")]
    private string? TemplateAsked { get; set; }

    [SupplyParameterFromQuery(Name = "from")]
    private string? From { get; set; }

    /// <inheritdoc/>
    protected override async Task OnParametersSetAsync()
    {
        string key = $"{TemplateAsked}|{From}";
        if (_shownFor == key)
        {
            return;
        }

        _shownFor = key;
        if (InCluster is { } cluster && UserTask != null)
        {
            _spaces = cluster.NamespacesOf((await UserTask).User);
            _space = _spaces.Count > 0 ? _spaces[0] : "default";
        }

        if (!string.IsNullOrEmpty(From) && UserTask != null && Store.Find(From) is { } run && (await UserTask).User.MaySee(run))
        {
            _template = "";
            _yaml = ManifestText.Of(run)
                .Replace($"name: {run.Experiment}", $"name: {Shorten(run.Experiment)}-copy", StringComparison.Ordinal);
        }
        else
        {
            Template template = Templates.All.FirstOrDefault(t => t.Key == TemplateAsked) ?? Templates.All[0];
            _template = template.Key;
            _yaml = template.Yaml;
        }

        Read();
    }

    /// <inheritdoc/>
    protected override async Task OnAfterRenderAsync(bool firstRender)
    {
        if (_module is null)
        {
            _module = await Script.InvokeAsync<IJSObjectReference>("import", "./js/editor.js");
            await _module.InvokeVoidAsync("attach", _editor);
        }

        await _module.InvokeVoidAsync("update", _editor, _problems.Select(p => p.Line).OfType<int>().Distinct());
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        try
        {
            if (_module != null)
            {
                await _module.DisposeAsync();
            }
        }
        catch (JSDisconnectedException)
        {
            // The page is gone.
        }
    }

    private ValueTask JumpAsync(int line) => _module?.InvokeVoidAsync("jump", _editor, line) ?? ValueTask.CompletedTask;

    /// <summary>Of the sources of videos only the chosen one's fields.</summary>
    private bool Shown(FormField field) => !field.Path.StartsWith("dataset.source.", StringComparison.Ordinal) || field.Path.Split('.')[2] == Source;

    private void SetSource(string kind)
    {
        if (kind == Source)
        {
            return;
        }

        var source = new JsonObject { [kind] = kind == "path" ? JsonValue.Create("") : new JsonObject() };
        if (_spec["dataset"] is JsonObject dataset)
        {
            dataset["source"] = source;
        }
        else
        {
            _spec["dataset"] = new JsonObject { ["source"] = source };
        }

        _scanned = "";
        Write();
    }

    /// <summary>Says what the folder holds before anything is trained on it, in the words of <c>coclr data scan</c>.</summary>
    private async Task ScanAsync()
    {
        if (UserTask is null || !(await UserTask).User.MayEdit() || Value(PathField) is not { Length: > 0 } folder)
        {
            return;
        }

        (_scanning, _scanned) = (true, "");
        StateHasChanged();
        try
        {
            string[] clip = [.. ClipFields.SelectMany(f => Value("clip." + f) is { } value ? new[] { "--" + f, value } : [])];
            (int code, string output, string errors) = await Host.RunAsync(["data", "scan", "--quick", .. clip, "--", folder], ScanLimit, CancellationToken.None);
            _scanned = Ansi.Strip(code == ExitCodes.Done ? output : errors).Trim();
        }
        catch (UserErrorException e)
        {
            _scanned = e.Message;
        }
        catch (OperationCanceledException)
        {
            _scanned = $"Looking at {folder} took longer than {ScanLimit.TotalMinutes:0} minutes and was ended: coclr data scan looks as long as it takes.";
        }
        finally
        {
            _scanning = false;
        }
    }

    private static string Shorten(string name) => name.Length > 46 ? name[..46].TrimEnd('-') : name;

    private static List<FormSection> MakeSections()
    {
        var sections = new List<FormSection>();
        var top = new List<FormField>();
        foreach (SchemaField field in SchemaModel.Experiment.Fields.Where(f => !f.ClusterOnly))
        {
            if (field.Node.Type == SchemaType.Object)
            {
                var fields = new List<FormField>();
                Collect(field.Node, field.Name, "", fields, 0);
                sections.Add(new FormSection(field.Name, Sentence(field.Node.Description.Length > 0 ? field.Node.Description : field.Name),
                    fields));
            }
            else if (Make(field, field.Name, field.Name) is { } simple)
            {
                top.Add(simple);
            }
        }

        sections.Insert(0, new FormSection("general", "General", top));
        return sections;
    }

    private static void Collect(SchemaNode node, string path, string label, List<FormField> into, int depth)
    {
        foreach (SchemaField field in node.Fields.Where(f => !f.ClusterOnly))
        {
            string name = label.Length == 0 ? field.Name : $"{label}.{field.Name}";
            if (field.Node.Type == SchemaType.Object && depth < 3)
            {
                Collect(field.Node, $"{path}.{field.Name}", name, into, depth + 1);
            }
            else if (Make(field, $"{path}.{field.Name}", name) is { } simple)
            {
                into.Add(simple);
            }
        }
    }

    private static FormField? Make(SchemaField field, string path, string label)
    {
        string[] options = field.Node.EnumValues?.Select(v => v.Value).ToArray() ?? [];
        string? kind = field.Node.Type switch
        {
            SchemaType.Boolean => "bool",
            SchemaType.Integer => "int",
            SchemaType.String => "text",
            SchemaType.Array when field.Node.Items is { Type: SchemaType.String or SchemaType.Integer } => "list",
            _ => null,
        };
        return kind == null ? null : new FormField(path, label, kind, field.Node.Description, options, Show(field.Default));
    }

    private static string Sentence(string text) => text.Split(". ")[0].TrimEnd('.');

    private static string? Show(JsonNode? node) =>
        node switch
        {
            null => null,
            JsonArray list => string.Join(", ", list.Select(i => i?.ToString())),
            JsonObject => null,
            JsonValue value when value.TryGetValue(out bool flag) => flag ? "true" : "false",
            _ => node.ToString()
        };

    private string? Value(string path)
    {
        JsonNode? at = _spec;
        foreach (string name in path.Split('.'))
        {
            at = (at as JsonObject)?[name];
        }

        return Show(at)
            ?? AllSections.SelectMany(s => s.Fields)
            .FirstOrDefault(f => f.Path == path && f.Kind is "bool" || f.Path == path && f.Options.Length > 0)?.Default;
    }

    private string? Wrong(string path) => _problems.FirstOrDefault(p => p.Path == path)?.Message;

    private void Rename(string name)
    {
        _name = name.Trim();
        Write();
    }

    private void Set(string path, string? value)
    {
        if (string.IsNullOrWhiteSpace(value))
        {
            Remove(_spec, path.Split('.'));
        }
        else
        {
            if (path.StartsWith("dataset.source.", StringComparison.Ordinal) && _spec["dataset"]?["source"] is JsonObject source)
            {
                // Exactly one source: the one that is being filled in takes the place of the other.
                string kind = path.Split('.')[2];
                foreach (string other in source.Select(p => p.Key).Where(k => k != kind).ToArray())
                {
                    source.Remove(other);
                }
            }

            FieldPath.Set(_spec, SchemaModel.Experiment, path, value.Trim());
        }

        Write();
    }

    private static void Remove(JsonObject at, string[] names)
    {
        if (names.Length == 1)
        {
            at.Remove(names[0]);
        }
        else if (at[names[0]] is JsonObject inner)
        {
            Remove(inner, names[1..]);
            if (inner.Count == 0)
            {
                at.Remove(names[0]);
            }
        }
    }

    private void Write()
    {
        _yaml = ManifestWriter.Write(_name, ApiNames.Experiment, _spec);
        Check();
    }

    private void Read()
    {
        if (ManifestReader.TryToJson(_yaml) is { } manifest)
        {
            _name = manifest["metadata"]?["name"]?.ToString() ?? "";
            _spec = manifest["spec"] as JsonObject is { } spec ? spec.DeepClone().AsObject() : [];
            var shown = AllSections.SelectMany(s => s.Fields).Select(f => f.Path).ToHashSet(StringComparer.Ordinal);
            _unshown = Leaves(_spec, "").Count(p => !shown.Contains(p));
        }

        Check();
    }

    private static IEnumerable<string> Leaves(JsonObject map, string path) =>
        map.SelectMany(p => p.Value is JsonObject inner && inner.Count > 0 ? Leaves(inner, path + p.Key + ".") : [path + p.Key]);

    private void Check()
    {
        ManifestReading<ExperimentSpec> reading = ManifestReader.ReadExperiment(_yaml);
        _problems = reading.Problems;
        _warnings = reading.Manifest is { } read ? [.. ClipShape.Warnings(read.Spec)] : [];
        _plan = reading.Manifest is { } manifest ? Planner.Plan(manifest.Metadata.Name, manifest.Spec) : null;
        _estimate = _plan is null ? "" : Estimate(_plan);
    }

    /// <summary>Time from runs with the same network, clip and data: seconds an epoch of each kind of stage.</summary>
    private string Estimate(StagePlan plan)
    {
        double seconds = 0;
        int unknown = 0;
        StagePlan[] alike = [.. Store.Runs.OrderByDescending(r => r.Updated).Take(100).Select(ManifestText.Plan).OfType<StagePlan>()
            .Where(p => p.Spec.Model == plan.Spec.Model && p.Spec.Clip == plan.Spec.Clip)];
        foreach (Stage stage in plan.Stages)
        {
            double? pace = alike.SelectMany(p => p.Stages.Where(s => s.Kind == stage.Kind)
                .Select(s => Store.Find(p.Run)?.Stage(s.Name) is { Phase: StagePhase.Succeeded, WallSeconds: > 0 } info
                ? info.WallSeconds / Math.Max(1, s.Epochs ?? 1) : null)).OfType<double>().Select(v => (double?)v).FirstOrDefault();
            if (pace is { } p)
            {
                seconds += p * Math.Max(1, stage.Epochs ?? 1);
            }
            else
            {
                unknown++;
            }
        }

        return alike.Length == 0 ? "no run with this network and clip is known here yet, so its time cannot be estimated"
            : $"about {Text.Duration(seconds)}, from runs with the same network and clip"
                + (unknown > 0 ? $" ({unknown} stages unknown)" : "");
    }

    private async Task ApplyAsync()
    {
        if (UserTask is null || ManifestReader.ReadExperiment(_yaml).Manifest is not { } manifest)
        {
            return;
        }

        try
        {
            StartedRun started = await Services.GetRequiredService<RunControl>()
                .StartAsync((await UserTask).User, manifest, _yaml, _space, CancellationToken.None);
            Snackbar.Add($"{started.Name} is applied in {_space}.", Severity.Info);
            Navigation.NavigateTo("cluster");
        }
        catch (UserErrorException e)
        {
            Snackbar.Add(e.Message, Severity.Warning);
        }
    }

    private async Task Start()
    {
        if (_plan is null || UserTask is null || !(await UserTask).User.MayEdit())
        {
            return;
        }

        try
        {
            if (ManifestReader.ReadExperiment(_yaml).Manifest is { } manifest)
            {
                await Services.GetRequiredService<RunControl>()
                    .StartAsync((await UserTask).User, manifest, _yaml, null, CancellationToken.None);
            }

            Snackbar.Add($"{_plan.Run} starts.", Severity.Info);
            Navigation.NavigateTo(Links.Run(_plan.Run));
        }
        catch (UserErrorException e)
        {
            Snackbar.Add(e.Message, Severity.Warning);
        }
    }
}
