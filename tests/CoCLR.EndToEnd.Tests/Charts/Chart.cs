// Why this exists: how the tests find the repository, run helm and kubectl, and read what they print.
using System.Diagnostics;
using System.Text.Json.Nodes;
using CoCLR.TrialCluster;

namespace CoCLR.EndToEnd.Tests.Charts;

/// <summary>The chart and the tools around it.</summary>
internal static class Chart
{
    /// <summary>Top of the repository.</summary>
    public static string Root { get; } = Find();

    /// <summary>Folder of the chart.</summary>
    public static string Folder => Path.Combine(Root, "charts", "coclr-platform");

    /// <summary>The programs that stand for the chart's images.</summary>
    public static IReadOnlyList<ImageProgram> Programs =>
    [
        ImageProgram.For("coclr-operator:*", ["dotnet", Assembly("operator/CoCLR.Operator", "CoCLR.Operator")]),
        ImageProgram.For("coclr-dashboard:*", ["dotnet", Assembly("src/CoCLR.Dashboard", "CoCLR.Dashboard")]),
    ];

    private static string Assembly(string project, string name) =>
        Path.Combine(Root, project, "bin", new DirectoryInfo(AppContext.BaseDirectory).Parent!.Name, "net10.0", name + ".dll");

    private static string Find()
    {
        for (var folder = new DirectoryInfo(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            if (File.Exists(Path.Combine(folder.FullName, "CoCLR.Platform.sln")))
            {
                return folder.FullName;
            }
        }

        throw new InvalidOperationException("the tests do not lie in the repository");
    }

    /// <summary>Path of `helm` or `kubectl`; the test skips without it.</summary>
    public static string Tool(string name)
    {
        if (Environment.GetEnvironmentVariable("COCLR_" + name.ToUpperInvariant()) is { Length: > 0 } path && File.Exists(path))
        {
            return path;
        }

        foreach (var folder in (Environment.GetEnvironmentVariable("PATH") ?? "").Split(Path.PathSeparator))
        {
            if (File.Exists(Path.Combine(folder, name)))
            {
                return Path.Combine(folder, name);
            }
        }

        Assert.Skip($"{name} is not installed; ./coclr test fetches it");
        return "";
    }

    /// <summary>Runs a tool; standard output, standard error, exit code.</summary>
    public static async Task<(string Output, string Error, int Code)> RunAsync(
        string tool, IEnumerable<string> arguments, string? kubeconfig = null, string? input = null)
    {
        var info = new ProcessStartInfo(Tool(tool), arguments)
        {
            RedirectStandardOutput = true, RedirectStandardError = true, RedirectStandardInput = true, WorkingDirectory = Root
        };
        info.Environment["KUBECONFIG"] = kubeconfig ?? "/nonexistent";
        using var process = Process.Start(info)!;
        if (input is not null)
        {
            await process.StandardInput.WriteAsync(input);
        }

        process.StandardInput.Close();
        var output = process.StandardOutput.ReadToEndAsync(TestContext.Current.CancellationToken);
        var error = process.StandardError.ReadToEndAsync(TestContext.Current.CancellationToken);
        await process.WaitForExitAsync(TestContext.Current.CancellationToken);
        return (await output, await error, process.ExitCode);
    }

    /// <summary>What the chart renders with these settings.</summary>
    public static async Task<List<JsonObject>> RenderAsync(params string[] arguments)
    {
        var (output, error, code) = await RunAsync("helm", ["template", "coclr", Folder, "--namespace", "coclr-system", .. arguments]);
        Assert.True(code == 0, error);
        return Documents(output);
    }

    /// <summary>The documents of a YAML stream.</summary>
    public static List<JsonObject> Documents(string yaml) =>
        [.. yaml.Split("\n---").Where(d => d.Split('\n').Any(l => l.Trim().Length > 0 && !l.StartsWith('#') && l.Trim() != "---"))
            .Select(
                d => Json.Parse(System.Text.Encoding.UTF8.GetBytes(d.StartsWith("---", StringComparison.Ordinal) ? d[3..] : d), yaml: true))
                .OfType<JsonObject>()];
}
