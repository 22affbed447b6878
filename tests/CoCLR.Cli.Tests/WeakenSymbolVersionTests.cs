// Why this exists: the one build step of our own edits a native library; it must touch two entries and nothing else, and refuse what it
// does not understand.
using CoCLR.Build;

namespace CoCLR.Cli.Tests;

public sealed class WeakenSymbolVersionTests
{
    private static byte[] Packaged()
    {
        string root = Environment.GetEnvironmentVariable("NUGET_PACKAGES")
            ?? Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".nuget", "packages");
        string file = Path.Combine(root, "torchsharp", "0.107.0", "runtimes", "linux-x64", "native", "libLibTorchSharp.so");
        if (!File.Exists(file))
        {
            Assert.Skip($"{file} is not in the package cache");
        }

        return File.ReadAllBytes(file);
    }

    [Fact]
    public void PackagedLibrary_IsChangedInTwoBytesOnly_AndASecondTimeNotAtAll()
    {
        byte[] before = Packaged();
        byte[] after = [.. before];
        Assert.Equal(2, WeakenSymbolVersion.Apply(after, WeakenSymbolVersion.MissingVersion));
        Assert.Equal(2, before.Zip(after).Count(pair => pair.First != pair.Second));
        Assert.Equal(0, WeakenSymbolVersion.Apply(after, WeakenSymbolVersion.MissingVersion));
    }

    [Fact]
    public void VersionThatIsNotNeeded_ChangesNothing()
    {
        byte[] before = Packaged();
        byte[] after = [.. before];
        Assert.Equal(0, WeakenSymbolVersion.Apply(after, "GLIBCXX_9.9.99"));
        Assert.Equal(before, after);
    }

    [Theory]
    [InlineData("")]
    [InlineData("not an ELF file, but long enough to hold the sixty-four bytes of a header of one")]
    public void OtherFiles_AreRefused(string text) =>
        Assert.Throws<InvalidDataException>(
            () => WeakenSymbolVersion.Apply(System.Text.Encoding.ASCII.GetBytes(text), WeakenSymbolVersion.MissingVersion));

    [Fact]
    public void CutOffFile_IsRefused_OrLeftAsItIs()
    {
        byte[] whole = Packaged();
        var random = new Random(7);
        for (int i = 0; i < 30; i++)
        {
            byte[] cut = whole[..random.Next(64, whole.Length)];
            Assert.Throws<InvalidDataException>(() => WeakenSymbolVersion.Apply(cut, WeakenSymbolVersion.MissingVersion));
        }
    }
}
