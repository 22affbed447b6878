// Why this exists: a process that is killed while it writes leaves an index that opens, and no event that it has acknowledged is lost.
using System.Diagnostics;
using System.Net;
using System.Net.Http.Headers;
using CoCLR.Core.Events;
using CoCLR.Dashboard.Storage;
using CoCLR.Dashboard.Tests.Fixtures;

namespace CoCLR.Dashboard.Tests.Storage;

public sealed class KillTests
{
    private const string Key = "an-ingest-key-of-22-characters";

    [Fact]
    public async Task KillDuringWrites_ManyTimes_LosesNothingAcknowledged()
    {
        using var folder = new TemporaryFolder();
        long acknowledged = 0;
        var random = new Random(5);
        for (int round = 0; round < 5; round++)
        {
            using Process process = Start(folder.Path, out Task<Uri> link);
            Uri address = await link;
            using var client = new HttpClient { BaseAddress = new Uri(address.GetLeftPart(UriPartial.Authority)) };
            client.DefaultRequestHeaders.Authorization =
                new AuthenticationHeaderValue("Bearer", IngestToken.Create(Key, "r1", DateTimeOffset.UtcNow.AddHours(1)));
            long enough = acknowledged + (100 * random.Next(2, 12));
            try
            {
                while (true)
                {
                    // Strikes while the next batch is on its way.
                    if (acknowledged >= enough)
                    {
                        _ = Task.Run(process.Kill);
                    }

                    RunEvent[] batch = [.. Enumerable.Range((int)acknowledged, 100).Select(i => Make.Metric(i, i, i))];
                    using HttpResponseMessage answer = await client.PostAsync("/api/v1/ingest", DashboardServer.Batch(batch));
                    if (answer.StatusCode == HttpStatusCode.OK)
                    {
                        acknowledged += 100;
                    }
                }
            }
            catch (HttpRequestException)
            {
                // Killed.
            }

            await process.WaitForExitAsync();
        }

        Assert.True(acknowledged > 900);
        // Every point is asked for, however fast this machine wrote them.
        await using DashboardServer last = await DashboardServer.StartAsync(folder.Path, "--Dashboard:Limits:PointsPerRead", "100000000");
        await Ingest.IngestApiTests.Until(() => last.Store.Curves("r1").Curves is [{ } c] && c.Count >= acknowledged);
        Curve curve = last.Store.Curves("r1", points: int.MaxValue).Curves.Single();
        Assert.Equal(Enumerable.Range(0, (int)acknowledged).Select(i => (double?)i), curve.Values.Take((int)acknowledged));
        Assert.Equal(curve.Steps.Distinct().Count(), curve.Steps.Length);
        Assert.Null(last.Store.Health.Rebuilt);
    }

    internal static Process Start(string folder, out Task<Uri> link, params string[] more)
    {
        var found = new TaskCompletionSource<Uri>(TaskCreationOptions.RunContinuationsAsynchronously);
        var start = new ProcessStartInfo(
            "dotnet",
            [
                Path.Combine(AppContext.BaseDirectory, "CoCLR.Dashboard.dll"), "--workdir", folder, "--urls", "http://127.0.0.1:0",
                "--Dashboard:Ingest:Key", Key, .. more
            ])
        {
            RedirectStandardOutput = true, RedirectStandardError = true
        };
        var process = new Process { StartInfo = start, EnableRaisingEvents = true };
        process.Exited += (_, _) => found.TrySetException(new InvalidOperationException("the dashboard ended before it said its address"));
        process.OutputDataReceived += (_, e) =>
        {
            if (e.Data?.StartsWith("Dashboard: ", StringComparison.Ordinal) == true)
            {
                found.TrySetResult(new Uri(e.Data["Dashboard: ".Length..]));
            }
        };
        process.Start();
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
        link = found.Task;
        return process;
    }
}
