// Why this exists: a disk that is really full: events are refused so that the sender keeps them, pages say so, and nothing is damaged.
using System.Diagnostics;
using System.Net;
using CoCLR.Core.Events;
using CoCLR.Dashboard.Tests.Fixtures;

namespace CoCLR.Dashboard.Tests.Ingest;

public sealed class FullDiskTests
{
    [Fact]
    public async Task Ingest_DiskIsFull_Answers507AndGoesOnWhenThereIsRoom()
    {
        using var folder = new TemporaryFolder();
        string disk = folder["disk"];
        Directory.CreateDirectory(disk);
        Assert.SkipUnless(
            OperatingSystem.IsLinux() && Run("mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", disk) == 0,
            "a small file system cannot be mounted here (it needs root)");
        try
        {
            await using (DashboardServer server = await DashboardServer.StartAsync(folder["work"], "--Dashboard:DataDir", disk))
            {
                using HttpClient sender = server.Sender("full-1");
                Assert.Equal(HttpStatusCode.OK, (await sender.PostAsync("/api/v1/ingest", DashboardServer.Batch(Line(0)))).StatusCode);

                string ballast = Path.Combine(disk, "ballast");
                Fill(ballast);
                using HttpResponseMessage refused =
                    await sender.PostAsync("/api/v1/ingest", DashboardServer.Batch(Enumerable.Range(1, 200).Select(Line)));
                Assert.Equal(HttpStatusCode.InsufficientStorage, refused.StatusCode);
                using HttpClient reader = server.Admin();
                Assert.Equal(HttpStatusCode.OK, (await reader.GetAsync("/api/v1/runs/full-1")).StatusCode);

                File.Delete(ballast);
                Assert.Equal(
                    HttpStatusCode.OK,
                    (await sender.PostAsync("/api/v1/ingest", DashboardServer.Batch(Enumerable.Range(1, 200).Select(Line)))).StatusCode);
                Assert.Equal(201, server.Store.Find("full-1")!.Cursor);
            }

            // What was taken is there again, once each.
            await using DashboardServer again = await DashboardServer.StartAsync(folder["work"], "--Dashboard:DataDir", disk, "--rebuild");
            Stopwatch clock = Stopwatch.StartNew();
            while (again.Store.Find("full-1")?.Cursor != 201 && clock.Elapsed < TimeSpan.FromSeconds(20))
            {
                await Task.Delay(50);
            }

            Assert.Equal(201, again.Store.Find("full-1")!.Cursor);
        }
        finally
        {
            Run("umount", disk);
        }
    }

    private static LogEvent Line(int seq) => new()
    {
        Run = "full-1", Stage = "decode", Attempt = 1, Seq = seq, Time = DateTimeOffset.UtcNow, Level = "info",
        Message = new string('x', 200)
    };

    private static void Fill(string file)
    {
        using var stream = new FileStream(file, FileMode.Create, FileAccess.Write, FileShare.None, bufferSize: 0);
        byte[] block = new byte[4096];
        try
        {
            while (true)
            {
                stream.Write(block);
            }
        }
        catch (IOException)
        {
            // Full, as it should be.
        }
    }

    private static int Run(string program, params string[] arguments)
    {
        try
        {
            using Process process =
                Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardError = true, RedirectStandardOutput = true })!;
            process.WaitForExit();
            return process.ExitCode;
        }
        catch (System.ComponentModel.Win32Exception)
        {
            return 127;
        }
    }
}
