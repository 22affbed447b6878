// Why this exists: a run whose folder the dashboard cannot see shows everything there, also when the dashboard was away while it trained.
using System.Diagnostics;
using System.Net;
using System.Net.Http.Json;
using System.Security.Cryptography;
using System.Text.Json;
using CoCLR.Core;
using CoCLR.Core.Events;
using CoCLR.Core.Manifests;
using CoCLR.Core.Planning;
using CoCLR.Core.Results;
using CoCLR.Dashboard.Hosting;
using CoCLR.Dashboard.Storage;
using CoCLR.Dashboard.Tests.Fixtures;
using CoCLR.Operator.Tests;
using Microsoft.AspNetCore.Components.Forms;
using Microsoft.Extensions.DependencyInjection;

namespace CoCLR.EndToEnd.Tests.Dashboard;

public sealed class RemoteRunTests
{
    private const string Key = "an-ingest-key-of-22-characters";

    private const string Manifest = """
        apiVersion: coclr.dev/v1alpha1
        kind: CoCLRExperiment
        metadata: {name: afar}
        spec:
          dataset:
            source: {synthetic: {classes: 2, trainGroups: 3, testGroups: 2, groupSize: 2, frames: 12, size: 36}}
            storedSize: 36
          model: {backbone: S3DMini, width: "0.0625", projectionSize: 16}
          clip: {frames: 8, size: 32}
          flow: {algorithm: Fast}
          training: {method: CoCLR, epochs: 2, batchSize: 4, queueSize: 8}
          cotrain: {cycles: 1, epochsPerTurn: 2, topK: 2}
          evaluation: {linearProbe: {epochs: 3}}
        """;

    [Fact]
    public async Task Run_WithTheDashboardAwayAtFirst_ShowsGalleryProbeAndReportThere()
    {
        using var here = new TemporaryFolder();
        using var there = new TemporaryFolder();
        string manifest = here["afar.yaml"], token = here["token"];
        await File.WriteAllTextAsync(manifest, Manifest);
        StagePlan plan = Planner.Plan("afar", ManifestReader.ReadExperiment(Manifest).Manifest!.Spec);
        await File.WriteAllTextAsync(token, IngestToken.Create(Key, plan.Run, DateTimeOffset.UtcNow.AddHours(1)));

        // Nobody listens while it trains; the run does not care.
        await CoclrAsync(token, "run", "-f", manifest, "--workdir", here["runs"], "--dashboard", "http://127.0.0.1:9");
        string folder = Path.Combine(here["runs"], plan.Run);
        Assert.True(File.Exists(Path.Combine(folder, "report.json")));

        await using DashboardServer dashboard = await DashboardServer.StartAsync(there["work"]);
        await CoclrAsync(token, "run", "-f", manifest, "--workdir", here["runs"], "--dashboard", dashboard.Address.ToString());
        using HttpClient reader = dashboard.Admin();
        JsonElement detail = await reader.GetFromJsonAsync<JsonElement>($"api/v1/runs/{plan.Run}");
        Assert.Equal("succeeded", detail.GetProperty("state").GetString());
        JsonElement run = detail.GetProperty("run");
        Assert.Equal(plan.Stages.Count, run.GetProperty("stages").GetArrayLength());

        // Every artifact is there, byte for byte.
        JsonElement artifacts = await reader.GetFromJsonAsync<JsonElement>($"api/v1/runs/{plan.Run}/artifacts");
        Assert.True(artifacts.GetArrayLength() > 8);
        foreach (JsonElement artifact in artifacts.EnumerateArray())
        {
            byte[] bytes = await reader.GetByteArrayAsync($"api/v1/artifacts/{artifact.GetProperty("id").GetString()}");
            Assert.Equal(artifact.GetProperty("sha256").GetString(), Convert.ToHexStringLower(SHA256.HashData(bytes)));
        }

        // The gallery's films play, the report is the run's own.
        JsonElement neighbours = await reader.GetFromJsonAsync<JsonElement>($"api/v1/runs/{plan.Run}/neighbours/rgb");
        string query = neighbours.GetProperty("queries")[0].GetProperty("id").GetString()!;
        foreach (string view in new[] { "rgb", "flow" })
        {
            using HttpResponseMessage film =
                await reader.GetAsync($"api/v1/runs/{plan.Run}/clips/{view}/video?id={Uri.EscapeDataString(query)}");
            Assert.Equal(HttpStatusCode.OK, film.StatusCode);
            Assert.Equal("video/mp4", film.Content.Headers.ContentType!.MediaType);
        }

        JsonElement mine = JsonSerializer.Deserialize<JsonElement>(await File.ReadAllTextAsync(Path.Combine(folder, "report.json")));
        JsonElement theirs = await reader.GetFromJsonAsync<JsonElement>($"api/v1/runs/{plan.Run}/report");
        Assert.Equal(mine.GetProperty("rows").GetArrayLength(), theirs.GetProperty("rows").GetArrayLength());

        // Sending everything once more changes nothing.
        long cursor = run.GetProperty("cursor").GetInt64();
        foreach (string sent in Directory.EnumerateFiles(folder, "*.sent", SearchOption.AllDirectories))
        {
            File.Delete(sent);
        }

        await CoclrAsync(token, "run", "-f", manifest, "--workdir", here["runs"], "--dashboard", dashboard.Address.ToString());
        Assert.Equal(
            cursor,
            (await reader.GetFromJsonAsync<JsonElement>($"api/v1/runs/{plan.Run}")).GetProperty("run").GetProperty("cursor").GetInt64());

        // Where the run folder and the command are, a person's own video finds its neighbours with the run's checkpoint.
        await using DashboardServer local = await DashboardServer.StartAsync(here["runs"], "--Dashboard:CoclrCommand", Coclr);
        for (int i = 0; i < 300 && local.Store.Find(plan.Run)?.State != RunState.Succeeded; i++)
        {
            await Task.Delay(100);
        }

        string video = Directory.EnumerateFiles(Path.Combine(here["runs"], "cache"), "*.mp4", SearchOption.AllDirectories)
            .Where(f => f.Contains("synthetic-", StringComparison.Ordinal)).Order(StringComparer.Ordinal).First();
        Neighbour[] found = await local.App.Services.GetRequiredService<QueryVideos>()
            .SearchAsync(local.Store.Find(plan.Run)!, "retrieve-rgb", new BrowserFile(video), _ => { });
        Assert.NotEmpty(found);
        Assert.All(found, n => Assert.EndsWith(".mp4", n.Id, StringComparison.Ordinal));

        // What only calls itself a video ends its child process with a sentence; nothing of it stays.
        byte[] torn = await File.ReadAllBytesAsync(video);
        new Random(16).NextBytes(torn.AsSpan(16));
        await File.WriteAllBytesAsync(here["torn.mp4"], torn);
        UserErrorException refused = await Assert.ThrowsAsync<UserErrorException>(
            () => local.App.Services.GetRequiredService<QueryVideos>()
                .SearchAsync(local.Store.Find(plan.Run)!, "retrieve-rgb", new BrowserFile(here["torn.mp4"]), _ => { }));
        Assert.Equal(ExitCodes.BadData, refused.ExitCode);
        Assert.Contains("query.mp4", refused.Message, StringComparison.Ordinal);
        Assert.Empty(
            Directory.EnumerateFileSystemEntries(
                Directory.EnumerateDirectories(here.Path, "queries", SearchOption.AllDirectories).Single()));
    }

    private static string Coclr => Path.Combine(
        Repository.Root,
        "src",
        "CoCLR.Cli",
        "bin",
        AppContext.BaseDirectory.Contains("/Release/", StringComparison.Ordinal) ? "Release" : "Debug",
        "net10.0",
        "coclr");

    /// <summary>A file as the browser gives it.</summary>
    private sealed class BrowserFile(string path) : IBrowserFile
    {
        public string Name => Path.GetFileName(path);

        public DateTimeOffset LastModified => File.GetLastWriteTimeUtc(path);

        public long Size => new FileInfo(path).Length;

        public string ContentType => "video/mp4";

        public Stream OpenReadStream(long maxAllowedSize = 512000, CancellationToken cancellationToken = default) => File.OpenRead(path);
    }

    private static async Task CoclrAsync(string tokenFile, params string[] arguments)
    {
        var start = new ProcessStartInfo(Coclr, arguments) { RedirectStandardOutput = true, RedirectStandardError = true };
        start.Environment["COCLR_DASHBOARD_TOKEN_FILE"] = tokenFile;
        start.Environment["OMP_WAIT_POLICY"] = "PASSIVE";
        using Process process = Process.Start(start)!;
        Task<string> output = process.StandardOutput.ReadToEndAsync(TestContext.Current.CancellationToken),
        errors = process.StandardError.ReadToEndAsync(TestContext.Current.CancellationToken);
        await process.WaitForExitAsync(TestContext.Current.CancellationToken);
        Assert.True(process.ExitCode == 0, $"coclr {string.Join(' ', arguments)}: {await errors}{await output}");
    }
}
