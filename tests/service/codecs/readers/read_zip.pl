# Prints CRC-32, size and name of what every member of the zip on stdin holds.
use strict;
use warnings;
use Compress::Raw::Zlib qw(crc32);
use IO::Uncompress::Unzip qw($UnzipError);

my $zip = IO::Uncompress::Unzip->new('-', BlockSize => 1 << 20) or die "cannot open: $UnzipError\n";
my $status = 1;
while ($status > 0) {
    my ($crc, $size, $buffer) = (0, 0);
    while (($status = $zip->read($buffer, 1 << 20)) > 0) {
        $crc = crc32($buffer, $crc);
        $size += length $buffer;
    }
    die "cannot read: $UnzipError\n" if $status < 0;
    printf "%d %d %s\n", $crc, $size, $zip->getHeaderInfo()->{Name};
    $status = $zip->nextStream();
}
die "cannot go on: $UnzipError\n" if $status < 0;
