// Why this exists: whoever searches by a video of their own reads errors about that video, not about what it was called in between, and
// leaves nothing behind.
using CoCLR.Core;
using CoCLR.Core.Manifests;
using CoCLR.Dashboard.Hosting;
using CoCLR.Dashboard.Storage;
using CoCLR.Dashboard.Tests.Fixtures;
using CoCLR.Dashboard.Tests.Ingest;
using Microsoft.AspNetCore.Components.Forms;
using Microsoft.Extensions.DependencyInjection;

namespace CoCLR.Dashboard.Tests.Hosting;

public sealed class QueryVideoTests
{
    [Fact]
    public async Task Errors_NameThePersonsFileAndSayWhatToDo()
    {
        using var folder = new TemporaryFolder();
        Directory.CreateDirectory(folder.Path);
        string command = folder["coclr"];
        File.WriteAllText(command, "#!/bin/sh\nf=$(ls \"$2\")\necho \"error: The video cannot be used: $f: a playlist, not a video. It has "
            + "$(wc -c < \"$2/$f\") bytes.\" >&2\nexit 65\n");
        File.SetUnixFileMode(command, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        await using DashboardServer server = await DashboardServer.StartAsync(
            folder["work"], "--Dashboard:CoclrCommand", command, "--Dashboard:Limits:MaxQueryVideoBytes", "2000000");
        (string run, string runFolder, _) = new SampleRuns(Path.Combine(server.Folder, "runs"))
            .Write("done", Method.InfoNCE, epochs: 2, previews: false);
        SampleRuns.WriteGallery(runFolder, "pretrain-rgb");
        await IngestApiTests.Until(() => server.Store.Find(run)?.State == RunState.Succeeded);
        QueryVideos queries = server.App.Services.GetRequiredService<QueryVideos>();
        var doing = new List<string>();

        async Task<string> Search(IBrowserFile file) =>
            (
                await Assert.ThrowsAsync<UserErrorException>(
                    () => queries.SearchAsync(server.Store.Find(run)!, "retrieve-rgb", file, doing.Add))).Message;

        Assert.Equal(
            "error: The video cannot be used: “my cat.MP4”: a playlist, not a video. It has 1500000 bytes.",
            await Search(new Upload("my cat.MP4", 1_500_000)));
        Assert.Contains("Receiving the file: 100 %", doing);
        Assert.Contains(
            "“my cat.mp4” has 2 MiB, and at most 1 MiB are taken",
            await Search(new Upload("my cat.mp4", 3_000_000)),
            StringComparison.Ordinal);
        Assert.Contains(
            "“notes.txt” does not look like a video: its name ends in none of .mp4",
            await Search(new Upload("notes.txt", 10)),
            StringComparison.Ordinal);
        Assert.Contains(
            "“cut.mp4” could not be received (the line broke): check the connection",
            await Search(new Upload("cut.mp4", 1000, new IOException("the line broke."))),
            StringComparison.Ordinal);
        Assert.Contains(
            "“slow.mp4” could not be received",
            await Search(new Upload("slow.mp4", 1000, new TimeoutException("no answer"))),
            StringComparison.Ordinal);
        Assert.Empty(Directory.EnumerateFileSystemEntries(Path.Combine(server.Folder, ".coclr", "dashboard", "queries")));
    }

    private sealed class Upload(string name, long size, Exception? failure = null) : IBrowserFile
    {
        public string Name => name;

        public DateTimeOffset LastModified => default;

        public long Size => size;

        public string ContentType => "video/mp4";

        public Stream OpenReadStream(long maxAllowedSize = 512_000, CancellationToken cancellationToken = default) =>
            failure is null ? new MemoryStream(new byte[size]) : throw failure;
    }
}
