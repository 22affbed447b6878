// Why this exists: training pods write run folders and are not trusted: no path, link or name leads out of a run folder.
using CoCLR.Dashboard.Storage;
using CoCLR.Dashboard.Tests.Fixtures;

namespace CoCLR.Dashboard.Tests.Storage;

public sealed class ArtifactFilesTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();
    private readonly string _run;

    public ArtifactFilesTests()
    {
        _run = _folder["run1"];
        Directory.CreateDirectory(Path.Combine(_run, "stages", "a"));
        Directory.CreateDirectory(_folder["run10"]);
        File.WriteAllText(Path.Combine(_run, "stages", "a", "ok.json"), "fine");
        File.WriteAllText(_folder["secret.txt"], "secret");
        File.WriteAllText(_folder["run10", "other.txt"], "other");
    }

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Open_HardLinkToAnotherFile_GivesNothing()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "the number of names is asked of Linux only");
        Link(_folder["secret.txt"], Path.Combine(_run, "stages", "a", "hard.json"));
        Assert.Null(ArtifactFiles.Open(_run, "stages/a/hard.json"));

        // Previews are shared by runs, so they may have several names; only films and stills do.
        Directory.CreateDirectory(Path.Combine(_run, "previews"));
        File.WriteAllBytes(_folder["shared.jpg"], [0xFF, 0xD8, 0xFF, 0xE0, .. new byte[20]]);
        Link(_folder["shared.jpg"], Path.Combine(_run, "previews", "a.jpg"));
        Link(_folder["secret.txt"], Path.Combine(_run, "previews", "b.jpg"));
        using FileStream? still = ArtifactFiles.Open(_run, "previews/a.jpg");
        Assert.Equal(24, still!.Length);
        Assert.Null(ArtifactFiles.Open(_run, "previews/b.jpg"));
    }

    private static void Link(string target, string link)
    {
        using var process = System.Diagnostics.Process.Start("ln", [target, link]);
        process.WaitForExit();
        Assert.Equal(0, process.ExitCode);
    }

    [Fact]
    public void Open_PlainFile_IsRead()
    {
        using FileStream? stream = ArtifactFiles.Open(_run, "stages/a/ok.json");
        Assert.Equal("fine", new StreamReader(stream!).ReadToEnd());
    }

    [Theory]
    [InlineData("../secret.txt")]
    [InlineData("./../secret.txt")]
    [InlineData("stages/../../secret.txt")]
    [InlineData("stages/a/../../../secret.txt")]
    [InlineData("..%2fsecret.txt")]
    [InlineData("%2e%2e/secret.txt")]
    [InlineData("%252e%252e%252fsecret.txt")]
    [InlineData("..\\secret.txt")]
    [InlineData("stages\\a\\ok.json")]
    [InlineData("C:\\secret.txt")]
    [InlineData("C:/secret.txt")]
    [InlineData("//host/share")]
    [InlineData("/etc/passwd")]
    [InlineData("stages/a/ok.json\0.png")]
    [InlineData("stages/a/\u0001ok.json")]
    [InlineData("file:///etc/passwd")]
    [InlineData("http:///#/../etc/passwd")]
    [InlineData("//proc/self/root/etc/passwd")]
    [InlineData("stages//a/ok.json")]
    [InlineData("stages/a/ok.json?x")]
    [InlineData("stages/a/...")]
    [InlineData("")]
    [InlineData("../run10/other.txt")]
    [InlineData("stages/a")]
    [InlineData("stages/a/none.json")]
    public void A01toA05_Open_PathsThatLeaveOrDoNotExist_GiveNothing(string path) => Assert.Null(ArtifactFiles.Open(_run, path));

    [Theory]
    [InlineData("../../../secret.txt", "link.json")]
    [InlineData("/etc/passwd", "link.json")]
    [InlineData("ok.json", "link.json")]
    public void Open_SymbolicLink_GivesNothing(string target, string name)
    {
        File.CreateSymbolicLink(Path.Combine(_run, "stages", "a", name), target);
        Assert.Null(ArtifactFiles.Open(_run, "stages/a/" + name));
    }

    [Fact]
    public void Open_FolderThatIsALink_GivesNothing()
    {
        Directory.CreateSymbolicLink(Path.Combine(_run, "stages", "b"), _folder["run10"]);
        Assert.Null(ArtifactFiles.Open(_run, "stages/b/other.txt"));
    }

    [Theory]
    [InlineData("/data/run1", "/data/run1/x", true)]
    [InlineData("/data/run1", "/data/run10/x", false)]
    [InlineData("/data/run1/", "/data/run1/x", true)]
    [InlineData("/data/run1", "/data/run1", false)]
    public void Inside_LooksAtWholeNames(string root, string path, bool inside) => Assert.Equal(inside, ArtifactFiles.Inside(root, path));
}
