// Why this exists: whoever started a run, it is not deleted while a process works in its folder, it can be stopped from here, and it is not
// shown as running when that process is gone.
using System.Diagnostics;
using System.Net;
using System.Net.Http.Json;
using System.Text.Json;
using CoCLR.Core;
using CoCLR.Core.Manifests;
using CoCLR.Dashboard.Storage;
using CoCLR.Dashboard.Tests.Fixtures;
using CoCLR.Dashboard.Tests.Ingest;
using CoCLR.Runs;

namespace CoCLR.Dashboard.Tests.Hosting;

public sealed class RunControlTests : IAsyncLifetime
{
    private DashboardServer _server = null!;
    private HttpClient _client = null!;
    private string _run = "";
    private string _folder = "";

    public async ValueTask InitializeAsync()
    {
        _server = await DashboardServer.StartAsync(null, "--Dashboard:Limits:LostSeconds", "0");
        _client = _server.Admin();
        (_run, _folder, _) = new SampleRuns(Path.Combine(_server.Folder, "runs"))
            .Write("started-in-a-terminal", Method.InfoNCE, SampleRuns.Until.Learning, held: false);
    }

    public async ValueTask DisposeAsync()
    {
        _client.Dispose();
        await _server.DisposeAsync();
    }

    [Theory]
    [InlineData("")]
    [InlineData("stages/pretrain-rgb")]
    public async Task Delete_WhileAProcessWorksInTheFolder_IsRefused(string locked)
    {
        using (RunLock held = RunLock.TryTake(Path.Combine(_folder, locked))!)
        {
            await StateIs(RunState.Running);
            (HttpStatusCode code, string words) = await SendAsync(HttpMethod.Delete, "");
            Assert.Equal(HttpStatusCode.Conflict, code);
            Assert.Contains($"{_run} is running (process {Environment.ProcessId}", words, StringComparison.Ordinal);
            Assert.True(File.Exists(Path.Combine(_folder, "plan.json")));
            Assert.NotNull(_server.Store.Find(_run));
        }

        Assert.Equal(HttpStatusCode.NoContent, (await SendAsync(HttpMethod.Delete, "")).Code);
        Assert.False(Directory.Exists(_folder));
        Assert.Null(_server.Store.Find(_run));
    }

    [Fact]
    public async Task Delete_RunThatSendsFromElsewhere_IsRefusedUntilItIsSilent()
    {
        using HttpClient sender = _server.Sender("far-away");
        (
            await sender.PostAsync(
                "/api/v1/ingest", DashboardServer.Batch(Make.Started(run: "far-away"), Make.Metric(1, 1, 1, run: "far-away"))))
            .EnsureSuccessStatusCode();
        await IngestApiTests.Until(() => _server.Store.Find("far-away")?.Remote == true);
        using HttpResponseMessage refused = await _client.DeleteAsync("/api/v1/runs/far-away");
        Assert.Equal(HttpStatusCode.Conflict, refused.StatusCode);
        Assert.Contains("another machine", await refused.Content.ReadAsStringAsync(), StringComparison.Ordinal);

        _server.Store.Change("far-away", e => e.SetLost(true));
        using HttpResponseMessage deleted = await _client.DeleteAsync("/api/v1/runs/far-away");
        Assert.Equal(HttpStatusCode.NoContent, deleted.StatusCode);
    }

    [Fact]
    public async Task Stop_RunOfAnotherProcess_AsksTheHolderOfItsLock()
    {
        using Process process = Hold(out RunHolder holder);
        Write(holder);
        await StateIs(RunState.Running);
        Assert.Equal(HttpStatusCode.NoContent, (await SendAsync(HttpMethod.Post, "/stop")).Code);
        Assert.Equal("asked to end", await process.StandardOutput.ReadLineAsync(TestContext.Current.CancellationToken));
        await process.WaitForExitAsync(TestContext.Current.CancellationToken);
        await StateIs(RunState.Lost);
    }

    [Fact]
    public async Task Stop_HolderThatIsNotThatProcess_HarmsNobody()
    {
        using Process process = Hold(out RunHolder holder);
        await StateIs(RunState.Running);
        Write(holder with { Started = "1" });
        Assert.Contains("has just ended", (await SendAsync(HttpMethod.Post, "/stop")).Words, StringComparison.Ordinal);
        Write(holder with { Host = "another-machine" });
        Assert.Contains(
            $"process {process.Id} of another-machine: stop it there",
            (await SendAsync(HttpMethod.Post, "/stop")).Words,
            StringComparison.Ordinal);
        File.Delete(Path.Combine(_folder, "run.lock.json"));
        Assert.Contains("does not say which one", (await SendAsync(HttpMethod.Post, "/stop")).Words, StringComparison.Ordinal);
        Assert.False(process.HasExited);
        process.Kill();
        await process.WaitForExitAsync(TestContext.Current.CancellationToken);
        await StateIs(RunState.Lost);
        Assert.Contains("No process works on", (await SendAsync(HttpMethod.Post, "/stop")).Words, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Run_WhoseProcessIsGone_IsLostUntilItGoesOn()
    {
        await StateIs(RunState.Lost);
        JsonElement row = (await _client.GetFromJsonAsync<JsonElement>("/api/v1/runs?filter=state:lost")).GetProperty("runs")[0];
        Assert.Equal((_run, "lost"), (row.GetProperty("run").GetString(), row.GetProperty("state").GetString()));
        Assert.False(row.TryGetProperty("etaSeconds", out _));
        using (RunLock.TryTake(_folder)!)
        {
            await StateIs(RunState.Running);
            Assert.Contains("is running already", (await SendAsync(HttpMethod.Post, "/resume")).Words, StringComparison.Ordinal);
        }

        await StateIs(RunState.Lost);
        Assert.Equal(HttpStatusCode.NoContent, (await SendAsync(HttpMethod.Post, "/resume")).Code);
    }

    [Fact]
    public async Task Deeds_AreWrittenDownWithWhoDidThem()
    {
        using HttpClient editor = _server.Role("editor");
        using (RunLock.TryTake(_folder)!)
        {
            await StateIs(RunState.Running);
            using HttpResponseMessage refused = await editor.DeleteAsync($"/api/v1/runs/{_run}");
        }

        using HttpResponseMessage deleted = await editor.DeleteAsync($"/api/v1/runs/{_run}");
        Assert.Equal(HttpStatusCode.NoContent, deleted.StatusCode);
        JsonElement[] deeds = (await _client.GetFromJsonAsync<JsonElement[]>("/api/v1/audit"))!;
        Assert.Equal(["delete", "delete"], deeds.Select(d => d.GetProperty("action").GetString()));
        Assert.All(
            deeds,
            d => Assert.Equal(
                (_run, "test", "editor"),
                (d.GetProperty("target").GetString(), d.GetProperty("user").GetString(), d.GetProperty("role").GetString())));
        Assert.False(deeds[0].TryGetProperty("problem", out _));
        Assert.Contains("is running", deeds[1].GetProperty("problem").GetString(), StringComparison.Ordinal);
        using HttpResponseMessage closed = await editor.GetAsync("/api/v1/audit");
        Assert.Equal(HttpStatusCode.Forbidden, closed.StatusCode);
        JsonElement token = (await _client.GetFromJsonAsync<JsonElement[]>("/api/v1/tokens"))!.Single();
        Assert.True(token.GetProperty("used").GetDateTimeOffset() > DateTimeOffset.UtcNow.AddMinutes(-5));
    }

    [Fact]
    public void Lock_IsOfOneProcess_AndSaysWhich()
    {
        string folder = Path.Combine(_server.Folder, "locked");
        Assert.False(RunLock.IsHeld(folder));
        Assert.Null(RunLock.HolderOf(folder));
        using (RunLock first = RunLock.TryTake(folder)!)
        {
            Assert.Null(RunLock.TryTake(folder));
            Assert.Equal(
                (Environment.ProcessId, Environment.MachineName), (RunLock.HolderOf(folder)!.Process, RunLock.HolderOf(folder)!.Host));
        }

        Assert.False(RunLock.IsHeld(folder));
        Assert.Null(RunLock.HolderOf(folder));
        RunLock.TryTake(folder)!.Dispose();
    }

    // A process that is none of ours: it takes the lock with the system's own tool and ends when it is asked to.
    private Process Hold(out RunHolder holder)
    {
        string script = $"exec 9>'{Path.Combine(_folder, "run.lock")}'; flock 9; trap 'echo asked to end; exit 143' TERM; echo held; while "
            + $":; do read -t 0.05 <> <(:); done";
        var process = Process.Start(new ProcessStartInfo("bash", ["-c", script]) { RedirectStandardOutput = true })!;
        Assert.Equal("held", process.StandardOutput.ReadLine());
        holder = new RunHolder(process.Id, Environment.MachineName, RunHolder.StartOf(process.Id)!, DateTimeOffset.UtcNow);
        return process;
    }

    private void Write(RunHolder holder) =>
        File.WriteAllText(Path.Combine(_folder, "run.lock.json"), JsonSerializer.Serialize(holder, CoclrJson.Compact));

    private Task StateIs(RunState state) => IngestApiTests.Until(() => _server.Store.Find(_run)?.State == state);

    private async Task<(HttpStatusCode Code, string Words)> SendAsync(HttpMethod method, string action)
    {
        using HttpResponseMessage answer = await _client.SendAsync(new HttpRequestMessage(method, $"/api/v1/runs/{_run}{action}"));
        return (answer.StatusCode, await answer.Content.ReadAsStringAsync());
    }
}
