// Why this exists: points leave memory only when the index has them; a reader in between, and a disk that is full, must find every one.
using CoCLR.Dashboard.Storage;

namespace CoCLR.Dashboard.Tests.Storage;

public sealed class ChunkedListTests
{
    [Fact]
    public void TakeDirty_UntilItIsSaved_KeepsAllInMemory()
    {
        ChunkedList<int> list = Filled(10);
        Assert.Equal([4, 4, 2], list.TakeDirty().Select(c => c.Items.Length));
        (int from, int to, int[] tail) = list.Read(0, _ => throw new InvalidDataException());
        Assert.Equal(from, to);
        Assert.Equal(Enumerable.Range(0, 10), tail);

        // Saved: the full chunks but the newest are the index's.
        list.Trim();
        (from, to, tail) = list.Read(0, _ => throw new InvalidDataException());
        Assert.Equal((0, 1), (from, to));
        Assert.Equal(Enumerable.Range(4, 6), tail);
    }

    [Fact]
    public void Unsaved_AfterAFailedWrite_GivesEverythingAgain()
    {
        ChunkedList<int> list = Filled(10);
        list.TakeDirty();
        list.Unsaved();
        list.Add(10, _ => []);
        Assert.Equal(Enumerable.Range(0, 11), list.TakeDirty().SelectMany(c => c.Items));
    }

    private static ChunkedList<int> Filled(int count)
    {
        var list = new ChunkedList<int>(4);
        for (int i = 0; i < count; i++)
        {
            list.Add(i, _ => []);
        }

        return list;
    }
}
