// Why this exists: what a crafted video makes its decoder do must end at that video.
using System.Diagnostics;
using CoCLR.Engine.Video.Decoding;

namespace CoCLR.Engine.Tests.Video;

public sealed class ConfinedProcessTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Confined_ReadsItsFile_AndNothingElse()
    {
        Assert.SkipUnless(ConfinedProcess.IsSupported, "This system cannot confine processes.");
        string own = _folder.File("own.txt"), other = _folder.File("other.txt");
        File.WriteAllText(own, "own");
        File.WriteAllText(other, "secret");

        Assert.Equal((0, "own"), Run(own, "cat", own));
        var (status, output) = Run(own, "cat", other);
        Assert.Equal(("", true), (output, status != 0));
        Assert.NotEqual(0, Run(own, "ls", _folder.Path).Status);
        Assert.NotEqual(0, Run(own, "cat", "/proc/self/environ").Status);
        Assert.NotEqual(0, Run(own, "cp", own, _folder.File("written.txt")).Status);
        Assert.NotEqual(0, Run(own, "truncate", "-s", "0", own).Status);
        Assert.False(File.Exists(_folder.File("written.txt")));
        Assert.Equal("own", File.ReadAllText(own));

        // Whoever started it keeps all of its rights.
        Assert.Equal("secret", File.ReadAllText(other));
    }

    [Fact]
    public void Confined_OpensNoConnection()
    {
        Assert.SkipUnless(ConfinedProcess.IsSupported, "This system cannot confine processes.");
        using var listener = new System.Net.Sockets.TcpListener(System.Net.IPAddress.Loopback, 0);
        listener.Start();
        var port = ((System.Net.IPEndPoint)listener.LocalEndpoint).Port;
        string[] arguments = ["-c", $"exec 3<>/dev/tcp/127.0.0.1/{port}"];
        using (var free = Process.Start(new ProcessStartInfo("bash", arguments))!)
        {
            free.WaitForExit();
            Assert.Equal(0, free.ExitCode);
        }

        Assert.NotEqual(0, Run("/dev/null", "bash", arguments).Status);
    }

    private static (int Status, string Output) Run(string file, string program, params string[] arguments)
    {
        var info = new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true, RedirectStandardError = true };
        using var process = ConfinedProcess.Start(info, file);
        _ = process.StandardError.ReadToEndAsync(TestContext.Current.CancellationToken);
        var output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return (process.ExitCode, output);
    }
}
