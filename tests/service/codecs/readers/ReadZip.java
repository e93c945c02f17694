import java.io.BufferedInputStream;
import java.io.BufferedOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.PrintStream;
import java.util.Enumeration;
import java.util.zip.CRC32;
import java.util.zip.ZipEntry;
import java.util.zip.ZipFile;
import java.util.zip.ZipInputStream;

/** Prints CRC-32, size and name of what every member of a zip holds: of a stream on stdin, or of the file it is given. */
public class ReadZip {
    private static final byte[] BUFFER = new byte[1 << 20];

    public static void main(String[] arguments) throws IOException {
        try (PrintStream out = new PrintStream(new BufferedOutputStream(System.out), false, "UTF-8")) {
            if (arguments.length == 0) {
                readStream(out);
            } else {
                readFile(arguments[0], out);
            }
        }
    }

    private static void readStream(PrintStream out) throws IOException {
        try (ZipInputStream zip = new ZipInputStream(new BufferedInputStream(System.in, 1 << 20))) {
            for (ZipEntry entry = zip.getNextEntry(); entry != null; entry = zip.getNextEntry()) {
                print(entry, zip, out);
            }
        }
    }

    private static void readFile(String path, PrintStream out) throws IOException {
        try (ZipFile zip = new ZipFile(path)) {
            for (Enumeration<? extends ZipEntry> entries = zip.entries(); entries.hasMoreElements(); ) {
                ZipEntry entry = entries.nextElement();
                try (InputStream data = zip.getInputStream(entry)) {
                    print(entry, data, out);
                }
            }
        }
    }

    private static void print(ZipEntry entry, InputStream data, PrintStream out) throws IOException {
        CRC32 crc32 = new CRC32();
        long size = 0;
        for (int count = data.read(BUFFER); count > 0; count = data.read(BUFFER)) {
            crc32.update(BUFFER, 0, count);
            size += count;
        }
        out.println(crc32.getValue() + " " + size + " " + entry.getName());
    }
}
